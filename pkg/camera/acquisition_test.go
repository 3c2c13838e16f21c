package camera

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"framekeeper/internal/async"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
)

// expectState waits for the next change of health.
func expectState(t *testing.T, g *Grabber, want State) Health {
	t.Helper()
	select {
	case <-g.HealthChanged():
	case <-time.After(time.Hour):
		t.Fatalf("no change of health, want %s; still %+v", want, g.Health())
	}
	h := g.Health()
	if h.State != want {
		t.Fatalf("state %s (%s), want %s", h.State, h.Reason, want)
	}
	return h
}

func TestStallIsNoticedAndHeals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig()
		// It takes half a second to let go, so that "stalled" can be seen.
		sluggish := func(ctx context.Context, _ *Frame, _ int) error {
			<-ctx.Done()
			time.Sleep(500 * time.Millisecond)
			return fmt.Errorf("%w: %w", ctx.Err(), Symptom("it sends H.264"))
		}
		l := &fakeCamera{acquisitions: []step{then(3, every(10*time.Millisecond), sluggish), every(10 * time.Millisecond)}}
		var log bytes.Buffer
		g := NewGrabber(cfg, l.open, zerolog.New(&log))
		g.jitter = func() float64 { return 0 }
		stop := running(t, g)
		expectState(t, g, StateOK)

		h := expectState(t, g, StateStalled)
		if took := time.Since(h.LastFrame); took != cfg.StallTimeout {
			t.Errorf("stall noticed after %v, want %v", took, cfg.StallTimeout)
		}
		if !strings.Contains(h.Reason, "no frames for 2s") {
			t.Errorf("reason %q does not say what is wrong", h.Reason)
		}
		if h = expectState(t, g, StateRetrying); !strings.Contains(h.Reason, "no frames for 2s: it sends H.264; reopening") {
			t.Errorf("reason %q lacks what the source has seen", h.Reason)
		}
		expectState(t, g, StateOK)
		time.Sleep(time.Second)
		h = g.Health()
		if h.Stalls != 1 || h.Reopens != 1 || h.Reason != "" || h.Frames < 100 {
			t.Errorf("health %+v, want 1 stall, 1 reopening, no reason, over 100 frames", h)
		}
		if err := stop(); err != nil {
			t.Errorf("Run = %v, want nil after its context ended", err)
		}
		if lines := strings.Count(log.String(), "\n"); lines != 3 {
			t.Errorf("%d log lines, want opened, lost and back:\n%s", lines, log.String())
		}
		if strings.Contains(log.String(), "secret") {
			t.Errorf("the log shows the password:\n%s", log.String())
		}
	})
}

// Opening may take longer than frames may stay away; what was left of that time
// is not given to the frames.
func TestStallAfterASlowOpening(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig()
		g := newTestGrabber(cfg, func(ctx context.Context, _ Config) (Source, error) {
			if !async.Pause(ctx, 4*time.Second) {
				return nil, ctx.Err()
			}
			return &fakeSource{next: then(1, every(0), silent)}, nil
		})
		running(t, g)
		h := expectState(t, g, StateOK)
		for g.Health().State == StateOK {
			time.Sleep(time.Millisecond)
		}
		if took := time.Since(h.LastFrame); took > cfg.StallTimeout+2*time.Millisecond {
			t.Errorf("stall noticed %v after the only frame, want %v", took, cfg.StallTimeout)
		}
	})
}

func TestGivesUp(t *testing.T) {
	gone := errors.New("unplugged: rtsp://admin:secret@10.0.0.5/live")
	failing := func(context.Context, *Frame, int) error { return fmt.Errorf("%w: %w", ErrNoDevice, gone) }
	good := every(10 * time.Millisecond)
	for _, c := range []struct {
		name      string
		plays     []step
		wantOpens int
	}{
		{"never opened", []step{failing}, 1 + 5},
		{"lost after frames", []step{then(3, good, failing), failing}, 1 + 5},
		{"a new frame starts the count again", []step{failing, failing, then(1, good, failing), failing}, 3 + 5},
	} {
		bubble(t, c.name, func(t *testing.T) {
			l := &fakeCamera{acquisitions: c.plays}
			g := newTestGrabber(testConfig(), l.open)
			err := g.Run(t.Context())
			if !errors.Is(err, ErrReopenLimit) || !errors.Is(err, ErrNoDevice) {
				t.Errorf("Run = %v, want ErrReopenLimit and its cause", err)
			}
			if l.opens != c.wantOpens {
				t.Errorf("opened %d times, want %d", l.opens, c.wantOpens)
			}
			h := g.Health()
			if h.State != StateEnded || !strings.Contains(h.Reason, "unplugged") || strings.Contains(h.Reason, "secret") {
				t.Errorf("health %+v, want ended with the cause and without the password", h)
			}
		})
	}
}

// A camera that refuses the password would lock the account; nothing but time passes
// between the attempts, and the process does not end for it.
func TestRefusedIsTriedAgainByMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		var at []time.Duration
		cfg := testConfig()
		g := newTestGrabber(cfg, func(context.Context, Config) (Source, error) {
			at = append(at, time.Since(begun))
			return nil, fmt.Errorf("%w: wrong password", ErrRefused)
		})
		stop := running(t, g)
		time.Sleep(time.Second)
		synctest.Wait()
		if h := g.Health(); h.State != StateRetrying || !strings.Contains(h.Reason, "wrong password; trying again in 1 min") || g.Hung() != 0 {
			t.Errorf("health %+v, hung for %v", h, g.Hung())
		}
		time.Sleep(2 * time.Hour)
		if err := stop(); err != nil {
			t.Errorf("Run = %v after two hours, want it to go on", err)
		}
		want := []time.Duration{0, time.Minute, 6 * time.Minute, 21 * time.Minute, 36 * time.Minute}
		if len(at) != 10 || !slices.Equal(at[:len(want)], want) {
			t.Errorf("%d attempts, at %v; want 10, at %v and every 15 min", len(at), at, want)
		}
	})
}

// A camera that comes and goes for hours must not fill the log, nor be opened ten
// times a second.
func TestFlappingCamera(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := func(context.Context, *Frame, int) error { return ErrNoData }
		plays := []step{then(2000, every(10*time.Millisecond), gone)} // steady at first
		for range 1000 {
			plays = append(plays, then(1, every(10*time.Millisecond), gone))
		}
		plays = append(plays, then(2000, every(10*time.Millisecond), gone), every(10*time.Millisecond))
		l := &fakeCamera{acquisitions: plays}
		var log bytes.Buffer
		g := NewGrabber(testConfig(), l.open, zerolog.New(&log))
		g.jitter = func() float64 { return 0 }
		stop := running(t, g)
		began := time.Now()
		for g.Health().Reopens < 1000 {
			time.Sleep(10 * time.Millisecond)
		}
		if took := time.Since(began); took < 1000*700*time.Millisecond {
			t.Errorf("1000 reopenings within %v, want at least 700ms for each", took)
		}
		for g.Health().Reopens < 1002 {
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		if err := stop(); err != nil {
			t.Error(err)
		}
		text := log.String()
		lost, back := strings.Count(text, "Camera lost"), strings.Count(text, "Camera is back")
		if lost < 5 || lost > 14 || back != lost || !strings.Contains(text, `"times_in_a_row":512`) {
			t.Errorf("the log has it %d times lost and %d times back, want a dozen, the last of them the 512th:\n%s", lost, back, text)
		}
		if lines := strings.Split(strings.TrimSpace(text), "\n"); !strings.Contains(lines[len(lines)-1], "is back") {
			t.Errorf("the last line is %s, want that the camera is back", lines[len(lines)-1])
		}
	})
}

// Hung must not report a Grabber that works as hung while
// it waits, in whatever state; only when its own goroutine is held up.
func TestOverdue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sluggish := func(ctx context.Context, _ *Frame, _ int) error {
			<-ctx.Done()
			time.Sleep(500 * time.Millisecond)
			return ctx.Err()
		}
		failing := func(context.Context, *Frame, int) error { return ErrNoData }
		good := every(10 * time.Millisecond)
		l := &fakeCamera{acquisitions: []step{then(3, good, sluggish), failing, silent, failing, then(5, good, failing), silent}}
		cfg := testConfig()
		cfg.FrozenTimeout = time.Minute
		g := newTestGrabber(cfg, l.open)
		if d := g.Hung(); d != 0 {
			t.Errorf("overdue by %v before Run", d)
		}
		running(t, g)
		for range 2000 {
			time.Sleep(10 * time.Millisecond)
			synctest.Wait()
			if d := g.Hung(); d > 0 {
				t.Fatalf("overdue by %v in state %s", d, g.Health().State)
			}
		}
	})
	synctest.Test(t, func(t *testing.T) {
		held := make(chan struct{})
		g := newTestGrabber(testConfig(), func(context.Context, Config) (Source, error) { return nil, ErrNoDevice })
		g.jitter = func() float64 { <-held; return 0 }
		stop := running(t, g)
		time.Sleep(time.Minute)
		if d := g.Hung(); d < 50*time.Second {
			t.Errorf("overdue by %v after a minute in which nothing was done, want nearly that", d)
		}
		close(held)
		if err := stop(); err != nil {
			t.Error(err)
		}
		if d := g.Hung(); d != 0 {
			t.Errorf("overdue by %v after Run", d)
		}
	})
}

func TestReopenWaits(t *testing.T) {
	g := newTestGrabber(testConfig(), nil)
	for _, c := range []struct {
		n          int
		chance     float64
		wantMillis int64
	}{
		{1, 0, 100}, {2, 0, 200}, {3, 0, 400}, {6, 0, 3200}, {7, 0, 5000}, {1000000, 0, 5000},
		{1, 1, 50}, {7, 1, 2500},
	} {
		g.jitter = func() float64 { return c.chance }
		if got := g.reopenWait(c.n).Milliseconds(); got != c.wantMillis {
			t.Errorf("wait before attempt %d with chance %v = %d ms, want %d", c.n, c.chance, got, c.wantMillis)
		}
	}
}

func TestUnsupportedIsNotRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opens := 0
		g := newTestGrabber(testConfig(), func(context.Context, Config) (Source, error) {
			opens++
			return nil, fmt.Errorf("%w: use another", ErrUnsupported)
		})
		if err := g.Run(t.Context()); !errors.Is(err, ErrUnsupported) || opens != 1 {
			t.Errorf("Run = %v after %d openings, want ErrUnsupported after 1", err, opens)
		}
	})
}

// stuckUntil is a C call: it knows no context.
func stuckUntil(release <-chan struct{}) step {
	return func(_ context.Context, f *Frame, n int) error {
		<-release
		return numbered(f, n)
	}
}

func TestStuckSource(t *testing.T) {
	bubble(t, "in Next", func(t *testing.T) {
		release := make(chan struct{})
		l := &fakeCamera{acquisitions: []step{then(2, every(10*time.Millisecond), stuckUntil(release))}}
		cfg := testConfig()
		g := newTestGrabber(cfg, l.open)
		start := time.Now()
		err := g.Run(t.Context())
		if want := 20*time.Millisecond + 2*cfg.StallTimeout; !errors.Is(err, ErrHung) || time.Since(start) != want {
			t.Errorf("Run = %v after %v, want ErrHung after %v", err, time.Since(start), want)
		}
		if h := g.Health(); h.State != StateEnded || h.Reason == "" {
			t.Errorf("health %+v, want ended with a reason", h)
		}
		// What the call brings when it returns after all comes too late.
		close(release)
		synctest.Wait()
		f := g.Latest()
		if f.Seq != 2 || g.Health().State != StateEnded {
			t.Errorf("frame %d and state %s after the stuck call returned, want 2 and ended", f.Seq, g.Health().State)
		}
		f.Release()
	})
	bubble(t, "in Close", func(t *testing.T) {
		release := make(chan struct{})
		l := &fakeCamera{acquisitions: []step{then(2, every(10*time.Millisecond), ending)}}
		l.close = func() error { <-release; return nil }
		g := newTestGrabber(testConfig(), l.open)
		if err := g.Run(t.Context()); !errors.Is(err, ErrHung) {
			t.Errorf("Run = %v, want ErrHung", err)
		}
		close(release)
	})
	bubble(t, "in opening", func(t *testing.T) {
		release := make(chan struct{})
		g := newTestGrabber(testConfig(), func(context.Context, Config) (Source, error) {
			<-release
			return nil, ErrNoDevice
		})
		start := time.Now()
		if err := g.Run(t.Context()); !errors.Is(err, ErrHung) || time.Since(start) < openTimeout {
			t.Errorf("Run = %v after %v, want ErrHung after more than %v", err, time.Since(start), openTimeout)
		} else if want := "is still busy after it was asked to close (camera gives no frames: opening it takes longer than 10s)"; !strings.Contains(err.Error(), want) {
			t.Errorf("got %q, want it to say %q", err, want)
		}
		close(release)
	})
	bubble(t, "while the agent stops", func(t *testing.T) {
		release := make(chan struct{})
		l := &fakeCamera{acquisitions: []step{then(2, every(10*time.Millisecond), stuckUntil(release))}}
		cfg := testConfig()
		cfg.StallTimeout = time.Minute
		g := newTestGrabber(cfg, l.open)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if err := g.Run(ctx); !errors.Is(err, ErrHung) || time.Since(start) != time.Second+stopTimeout {
			t.Errorf("Run = %v after %v, want ErrHung %v after it was asked to stop", err, time.Since(start), stopTimeout)
		}
		close(release)
	})
}

func TestFrozenImage(t *testing.T) {
	same := func(image int) step {
		return func(ctx context.Context, f *Frame, n int) error {
			if !async.Pause(ctx, 10*time.Millisecond) {
				return ctx.Err()
			}
			_ = numbered(f, image)
			f.Seq = uint64(n)
			return nil
		}
	}
	play := []step{then(5, every(10*time.Millisecond), same(5)), same(5), then(20, same(5), every(10*time.Millisecond))}
	bubble(t, "is a stall when asked for", func(t *testing.T) {
		cfg := testConfig()
		cfg.FrozenTimeout = time.Second
		g := newTestGrabber(cfg, (&fakeCamera{acquisitions: play}).open)
		running(t, g)
		expectState(t, g, StateOK)
		for g.Health().State == StateOK {
			time.Sleep(time.Millisecond)
		}
		h := g.Health()
		if age := time.Since(h.LastFrame); age < cfg.FrozenTimeout || age > cfg.FrozenTimeout+2*time.Millisecond {
			t.Errorf("frozen image noticed after %v, want %v", age, cfg.FrozenTimeout)
		}
		if !strings.Contains(h.Reason, "same image") {
			t.Errorf("reason %q does not say what is wrong", h.Reason)
		}
		before := h.Frames
		time.Sleep(1200 * time.Millisecond) // in the second acquisition, which brings nothing new either
		if h = g.Health(); h.State == StateOK || h.Frames != before {
			t.Errorf("the frozen image after reopening: state %s, %d frames more; want it refused", h.State, h.Frames-before)
		}
		for g.Health().State != StateOK {
			time.Sleep(time.Millisecond)
		}
		f := g.Latest()
		defer f.Release()
		if h = g.Health(); f.Data[0] != 21 || h.Stalls != 2 || h.Reopens != 2 {
			t.Errorf("back with image %d, %d stalls, %d reopenings; want 21, 2, 2", f.Data[0], h.Stalls, h.Reopens)
		}
	})
	bubble(t, "is none of our business otherwise", func(t *testing.T) {
		g := newTestGrabber(testConfig(), (&fakeCamera{acquisitions: play}).open)
		running(t, g)
		time.Sleep(time.Minute)
		if h := g.Health(); h.State != StateOK || h.Stalls != 0 {
			t.Errorf("health %+v, want ok and no stall", h)
		}
	})
}

// A camera of 0.1 fps is not stalled because stall_timeout is 2 s.
func TestSlowCameraIsNotStalled(t *testing.T) {
	bubble(t, "by configuration", func(t *testing.T) {
		cfg := testConfig()
		cfg.FPS = 0.1
		g := newTestGrabber(cfg, (&fakeCamera{acquisitions: []step{every(10 * time.Second)}}).open)
		running(t, g)
		time.Sleep(2 * time.Minute)
		if h := g.Health(); h.Stalls != 0 || h.Frames < 11 {
			t.Errorf("%d stalls, %d frames; want 0 and at least 11", h.Stalls, h.Frames)
		}
	})
	bubble(t, "by what the source states", func(t *testing.T) {
		g := newTestGrabber(testConfig(), (&fakeCamera{acquisitions: []step{every(5 * time.Second)}, info: Info{FPS: 0.2}}).open)
		running(t, g)
		time.Sleep(2 * time.Minute)
		if h := g.Health(); h.Stalls != 0 || h.Frames < 23 {
			t.Errorf("%d stalls, %d frames; want 0 and at least 23", h.Stalls, h.Frames)
		}
	})
}

// A camera that has just begun does not count as one without frames.
func TestRateOfTheFirstFrame(t *testing.T) {
	bubble(t, "one frame", func(t *testing.T) {
		g := newTestGrabber(testConfig(), (&fakeCamera{acquisitions: []step{every(5 * time.Second)}, info: Info{FPS: 0.2}}).open)
		running(t, g)
		time.Sleep(6 * time.Second)
		if h := g.Health(); h.State != StateOK || h.Frames != 1 || h.FPS != 0.2 {
			t.Errorf("%s, %d frames, %v a second; want ok, 1 and what the source announces", h.State, h.Frames, h.FPS)
		}
	})
}
