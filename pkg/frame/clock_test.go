package frame

import (
	"testing"
	"time"
	"unsafe"
)

// stepWall moves the wall-clock reading of a time and leaves its monotonic one,
// which is what time.Now gives after someone has set the clock. package time
// has no way to do that, so it is done to the bits and checked.
func stepWall(t *testing.T, v time.Time, seconds int) time.Time {
	t.Helper()
	stepped := v
	wall := (*uint64)(unsafe.Pointer(&stepped)) // flag, 33 bits of seconds, 30 bits of nanoseconds
	*wall = uint64(int64(*wall) + int64(seconds)<<30)
	if stepped.Sub(v) != 0 || stepped.UnixMicro()-v.UnixMicro() != int64(seconds)*1e6 {
		t.Skip("package time has changed how it keeps a Time")
	}
	return stepped
}

func TestClockIgnoresAStepOfTheWallClock(t *testing.T) {
	start := time.Now()
	now := start
	c := newClock(func() time.Time { return now })
	if got, want := c.Micros(start), start.UnixMicro(); got != want {
		t.Fatalf("Micros at the anchor is %d, want %d", got, want)
	}
	later := start.Add(1500 * time.Millisecond)
	for _, step := range []int{0, 3600, -3600} {
		if got, want := c.Micros(stepWall(t, later, step))-c.Micros(start), int64(1500000); got != want {
			t.Errorf("with the wall clock stepped by %ds, 1.5s are %d µs, want %d", step, got, want)
		}
	}
	if got, want := c.Micros(start.Add(-time.Second)), start.UnixMicro()-1e6; got != want {
		t.Errorf("a second before the anchor is %d, want %d", got, want)
	}
	if got := c.Micros(time.Time{}); got != 0 {
		t.Errorf("the zero time is %d, want 0", got)
	}
}

func TestClockResync(t *testing.T) {
	start := time.Now()
	now := start
	c := newClock(func() time.Time { return now })

	now = stepWall(t, start.Add(10*time.Second), 2)
	if step, moved := c.Resync(5 * time.Second); step != 2*time.Second || moved {
		t.Errorf("a step of 2s: got %s, %v; want 2s, false", step, moved)
	}
	if got, want := c.Micros(now), start.UnixMicro()+10e6; got != want {
		t.Errorf("after a tolerated step Micros is %d, want %d", got, want)
	}
	for _, seconds := range []int{3600, -3600} {
		now = stepWall(t, start.Add(20*time.Second), seconds)
		step, moved := c.Resync(5 * time.Second)
		if !moved || step.Abs() < 59*time.Minute {
			t.Errorf("a step of %ds: got %s, %v; want it taken", seconds, step, moved)
		}
		if got, want := c.Micros(now), now.UnixMicro(); got != want {
			t.Errorf("after Resync Micros is %d, want the wall clock's %d", got, want)
		}
	}
}

func TestNewClockFollowsTheWallClock(t *testing.T) {
	c := NewClock()
	now := time.Now()
	if d := time.Duration(c.Micros(now)-now.UnixMicro()) * time.Microsecond; d.Abs() > time.Second {
		t.Errorf("a new clock is off by %s", d)
	}
}
