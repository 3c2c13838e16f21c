package spool

import (
	"math"
	"os"
	"reflect"
	"testing"
	"time"
	"unsafe"
)

func TestExpireByAge(t *testing.T) {
	c := newClock()
	cfg := config(t.TempDir())
	cfg.Now, cfg.MaxAge = c.now, time.Hour
	s := mustOpen(t, cfg)
	for seq := uint64(1); seq <= 4; seq++ { // at 0, 10, 20, 30 minutes
		mustPut(t, s, message(id(1, seq), 10))
		c.advance(10 * time.Minute)
	}
	if at := s.Stats().OldestAt; at.Sub(c.t.Add(-40*time.Minute)).Abs() > tick {
		t.Errorf("the oldest is of %s, want %s", at, c.t.Add(-40*time.Minute))
	}
	for _, tt := range []struct {
		wait time.Duration
		want []Loss
	}{
		{20 * time.Minute, nil}, // exactly an hour
		{tick, []Loss{{id(1, 1), id(1, 1), ReasonAge}}},
		{9 * time.Minute, nil},
		{12 * time.Minute, []Loss{{id(1, 2), id(1, 3), ReasonAge}}},
	} {
		c.advance(tt.wait)
		if got, err := s.Expire(); err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("after %s more lost %v, %v; want %v", tt.wait, got, err, tt.want)
		}
	}
	if st := s.Stats(); st.Dropped != 3 || st.Frames != 1 {
		t.Errorf("stats are %+v, want 3 dropped, 1 held", st)
	}
}

// What the clock says at Open decides how old the files of an earlier process
// look; only a plausible age may cost a frame.
func TestAgeOfEarlierFiles(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		now, modified time.Time
		lostAtOpen    bool
		lostAfter     time.Duration // of a day, otherwise
	}{
		"young":                  {now, now.Add(-time.Hour), false, 23 * time.Hour},
		"too old":                {now, now.Add(-25 * time.Hour), true, 0},
		"off season":             {now, now.Add(-90 * 24 * time.Hour), true, 0},
		"from the future":        {now, now.Add(time.Minute), false, 24 * time.Hour},
		"written in 1970":        {now, time.Unix(1000, 0), false, 24 * time.Hour},
		"read in 1970":           {time.Unix(1000, 0), now, false, 24 * time.Hour},
		"both in 1970":           {time.Unix(200000, 0), time.Unix(1000, 0), false, 24 * time.Hour},
		"read in 2080":           {now.AddDate(54, 0, 0), now, false, 24 * time.Hour},
		"written today, in 2019": {now, time.Date(2019, 12, 31, 23, 0, 0, 0, time.UTC), false, 24 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config(t.TempDir())
			s := mustOpen(t, cfg)
			mustPut(t, s, message(id(1, 1), 10))
			path := s.path(id(1, 1))
			mustClose(t, s)
			if err := os.Chtimes(path, tt.modified, tt.modified); err != nil {
				t.Fatal(err)
			}
			c := &clock{tt.now}
			cfg.Now, cfg.MaxAge = c.now, 24*time.Hour
			s, losses, err := Open(cfg)
			if err != nil || (len(losses) > 0) != tt.lostAtOpen {
				t.Fatalf("open lost %v, %v; want a loss: %v", losses, err, tt.lostAtOpen)
			}
			defer mustClose(t, s)
			if tt.lostAtOpen {
				return
			}
			c.t = tt.now.Add(tt.lostAfter - time.Second)
			if got, err := s.Expire(); err != nil || got != nil {
				t.Errorf("after %s lost %v, %v; want nothing", tt.lostAfter-time.Second, got, err)
			}
			c.t = tt.now.Add(tt.lostAfter + time.Second)
			if got, err := s.Expire(); err != nil || len(got) != 1 {
				t.Errorf("after %s lost %v, %v; want one", tt.lostAfter+time.Second, got, err)
			}
		})
	}
}

// Within one process a step of the wall clock changes no age: time.Now carries
// a monotonic reading, and nothing here strips it.
func TestClockStepWithinOneLife(t *testing.T) {
	start := time.Now()
	now := start
	cfg := config(t.TempDir())
	cfg.MaxAge = time.Hour
	cfg.Now = func() time.Time { return now }
	s := mustOpen(t, cfg)
	mustPut(t, s, message(id(1, 1), 10))
	for _, seconds := range []int{7200, -7200, 1 << 30} {
		now = stepWall(t, start.Add(30*time.Minute), seconds)
		if got, err := s.Expire(); err != nil || got != nil {
			t.Errorf("a wall clock %d s off lost %v, %v", seconds, got, err)
		}
	}
	now = stepWall(t, start.Add(61*time.Minute), -7200)
	if got, err := s.Expire(); err != nil || len(got) != 1 {
		t.Errorf("after 61 minutes lost %v, %v; want one", got, err)
	}
}

func TestTicks(t *testing.T) {
	s := &Spool{opened: time.Now()}
	for d, want := range map[time.Duration]int32{
		0: 0, 1: 1, tick: 1, tick + 1: 2, -1: 0, -tick: -1, math.MaxInt64: math.MaxInt32, math.MinInt64: math.MinInt32, 100 * 24 * time.Hour: 86400000,
	} {
		if got := s.ticks(s.opened.Round(0).Add(d)); got != want && d.Abs() < math.MaxInt64 {
			t.Errorf("%s after Open is tick %d, want %d", d, got, want)
		}
	}
}

// stepWall moves the wall-clock reading of a time and leaves the monotonic one:
// what time.Now gives after someone has set the clock. Package time has no way
// to do that, so it is done to the bits and checked.
func stepWall(t *testing.T, v time.Time, seconds int) time.Time {
	t.Helper()
	stepped := v
	wall := (*uint64)(unsafe.Pointer(&stepped)) // flag, 33 bits of seconds, 30 bits of nanoseconds
	*wall = uint64(int64(*wall) + int64(seconds)<<30)
	if stepped.Sub(v) != 0 || stepped.Unix()-v.Unix() != int64(seconds) {
		t.Skip("package time has changed how it keeps a Time")
	}
	return stepped
}
