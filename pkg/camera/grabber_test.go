package camera

import (
	"context"
	"errors"
	"framekeeper/internal/async"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
)

func TestNewestWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &fakeCamera{acquisitions: []step{every(10 * time.Millisecond)}}
		g := newTestGrabber(testConfig(), l.open)
		if f := g.Latest(); f != nil {
			t.Fatalf("Latest before the first frame = %v, want nil", f)
		}
		running(t, g)
		ticket := uint64(0)
		for round := range 5 { // a consumer that takes a second over each frame
			time.Sleep(time.Second + time.Millisecond)
			synctest.Wait()
			f, got, err := g.Wait(t.Context(), ticket)
			if err != nil {
				t.Fatal(err)
			}
			if age := time.Since(f.Captured); age >= 10*time.Millisecond {
				t.Errorf("round %d: a frame %v old, want the newest (under 10ms)", round, age)
			}
			if want := uint64((round + 1) * 100); f.Seq != want || got != want {
				t.Errorf("round %d: frame %d with ticket %d, want both %d", round, f.Seq, got, want)
			}
			ticket = got
			f.Release()
		}
		if f, _ := g.Newer(ticket); f != nil {
			t.Errorf("Newer(%d) gave frame %d again", ticket, f.Seq)
		}
	})
}

func TestUpdatesIsOneSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &fakeCamera{acquisitions: []step{every(10 * time.Millisecond)}}
		g := newTestGrabber(testConfig(), l.open)
		running(t, g)
		time.Sleep(105 * time.Millisecond)
		synctest.Wait()
		for i, want := range []bool{true, false} {
			got := false
			select {
			case <-g.Updates():
				got = true
			default:
			}
			if got != want {
				t.Errorf("read %d of Updates after 10 frames: %v, want %v", i, got, want)
			}
		}
	})
}

// A frame that is held must not be filled again, whatever the camera does.
func TestHeldFrameStaysUntouched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &fakeCamera{acquisitions: []step{every(time.Millisecond)}}
		g := newTestGrabber(testConfig(), l.open)
		stop := running(t, g)
		var held []*Frame
		for range 20 {
			time.Sleep(3 * time.Millisecond)
			synctest.Wait()
			held = append(held, g.Latest())
		}
		time.Sleep(time.Second)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		for _, f := range held {
			if got := uint64(f.Data[0]) | uint64(f.Data[1])<<8; got != f.Seq || len(f.Data) != 6 {
				t.Errorf("held frame %d now carries number %d in %d bytes", f.Seq, got, len(f.Data))
			}
			f.Release()
		}
		g.pool.mu.Lock()
		defer g.pool.mu.Unlock()
		if n := len(g.pool.spare); n > spareFrames {
			t.Errorf("%d spare frames kept, want at most %d", n, spareFrames)
		}
	})
}

func TestFreshness(t *testing.T) {
	const ms = time.Millisecond
	arrived := time.Now()
	for _, c := range []struct {
		name            string
		configured      time.Duration // source_latency
		source          time.Duration // Info.Latency
		captured        time.Duration // after the request's arrival
		maxAge          time.Duration
		exposed, answer bool
	}{
		{"captured at arrival", -1, 0, 0, 0, true, true},
		{"captured just before", -1, 0, -1, 0, false, false},
		{"source's latency reaches back", -1, 33 * ms, 32 * ms, 0, false, false},
		{"source's latency is over", -1, 33 * ms, 33 * ms, 0, true, true},
		{"configured latency wins over the source's", 50 * ms, 0, 49 * ms, 0, false, false},
		{"configured zero wins over the source's", 0, 33 * ms, 0, 0, true, true},
		{"older than arrival, allowed", -1, 0, -100 * ms, 100 * ms, false, true},
		{"older than allowed", -1, 0, -100*ms - 1, 100 * ms, false, false},
		{"max age counts from exposure, not capture", -1, 33 * ms, -80 * ms, 100 * ms, false, false},
		{"negative max age is none", -1, 0, 0, -time.Hour, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := testConfig()
			cfg.SourceLatency = c.configured
			g := newTestGrabber(cfg, nil)
			g.opened(&acquisition{ready: make(chan struct{})}, Info{Latency: c.source})
			f := &Frame{Captured: arrived.Add(c.captured)}
			if got := g.MayAnswer(f, arrived, 0); got != c.exposed {
				t.Errorf("MayAnswer = %v, want %v", got, c.exposed)
			}
			if got := g.MayAnswer(f, arrived, c.maxAge); got != c.answer {
				t.Errorf("MayAnswer = %v, want %v", got, c.answer)
			}
		})
	}
}

func TestEndOfAFiniteSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &fakeCamera{acquisitions: []step{then(3, every(10*time.Millisecond), ending)}}
		g := newTestGrabber(testConfig(), l.open)
		err := g.Run(t.Context())
		if !errors.Is(err, ErrEnded) || !errors.Is(err, io.EOF) {
			t.Errorf("Run = %v, want ErrEnded and io.EOF", err)
		}
		if h := g.Health(); h.State != StateEnded || h.Reason == "" || h.Frames != 3 || h.Reopens != 0 {
			t.Errorf("health %+v, want ended with a reason, 3 frames, no reopening", h)
		}
		f, ticket, err := g.Wait(t.Context(), 2)
		if err != nil || f.Seq != 3 || ticket != 3 {
			t.Fatalf("Wait after the end = %v, %d, %v; want frame 3", f, ticket, err)
		}
		f.Release()
		if _, _, err := g.Wait(t.Context(), 3); err == nil || !strings.Contains(err.Error(), "ended") {
			t.Errorf("Wait for a frame after the last: %v, want an error that says it has ended", err)
		}
	})
}

func TestWaitEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &fakeCamera{acquisitions: []step{silent}}
		g := newTestGrabber(testConfig(), l.open)
		running(t, g)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, _, err := g.Wait(ctx, 0); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Wait = %v, want DeadlineExceeded", err)
		}
	})
}

func TestMeasuresRateAndSkips(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gaps := func(ctx context.Context, f *Frame, n int) error {
			if !async.Pause(ctx, 40*time.Millisecond) {
				return ctx.Err()
			}
			_ = numbered(f, n)
			f.Seq = uint64((n - 1) * 3) // from 0, and two of three are lost
			return nil
		}
		g := newTestGrabber(testConfig(), (&fakeCamera{acquisitions: []step{then(50, gaps, silent)}}).open)
		running(t, g)
		time.Sleep(50*40*time.Millisecond + time.Millisecond)
		synctest.Wait()
		h := g.Health()
		if h.Frames != 50 || h.Skipped != 98 {
			t.Errorf("%d frames, %d skipped; want 50 and 98", h.Frames, h.Skipped)
		}
		if h.FPS < 24.9 || h.FPS > 25.1 {
			t.Errorf("measured %.2f fps, want 25", h.FPS)
		}
		time.Sleep(1240 * time.Millisecond)
		if got := g.Health().FPS; got > 13 {
			t.Errorf("measured %.2f fps after 1.24s of silence, want it to fall to half", got)
		}
	})
}

// Steady capture with a consumer must not feed the garbage collector.
func TestSteadyStateAllocatesNothing(t *testing.T) {
	tick := make(chan struct{})
	src := func(ctx context.Context, f *Frame, n int) error {
		select {
		case <-tick:
			f.Format, f.Width, f.Height = BGR24, 100, 100
			f.Data = append(f.Data[:0], zeros[:]...)
			f.Seq, f.Captured = uint64(n), time.Now()
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	cfg := testConfig()
	cfg.StallTimeout = time.Minute
	cfg.FrozenTimeout = time.Minute // its hash must be free, too
	g := NewGrabber(cfg, (&fakeCamera{acquisitions: []step{src}}).open, zerolog.Nop())
	stop := running(t, g)
	round := func() {
		tick <- struct{}{}
		<-g.Updates()
		g.Latest().Release()
	}
	round()
	if allocs := testing.AllocsPerRun(1000, round); allocs != 0 {
		t.Errorf("%v allocations a frame, want 0", allocs)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

var zeros [30000]byte
