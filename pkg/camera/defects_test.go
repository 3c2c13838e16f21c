package camera

import (
	"context"
	"framekeeper/internal/async"
	"testing"
	"time"
)

// torn is a source of which every other frame is broken.
type torn struct {
	DefectCount
	fakeSource
}

func (s *torn) Next(ctx context.Context, f *Frame) error {
	if !async.Pause(ctx, 10*time.Millisecond) {
		return ctx.Err()
	}
	s.AddDefect("cut short")
	return s.fakeSource.Next(ctx, f)
}

func TestDefectsAreCountedAcrossReopening(t *testing.T) {
	bubble(t, "of a source that counts them", func(t *testing.T) {
		g := newTestGrabber(testConfig(), func(context.Context, Config) (Source, error) {
			return &torn{fakeSource: fakeSource{next: then(3, every(10*time.Millisecond), silent)}}, nil
		})
		stop := running(t, g)
		time.Sleep(70*time.Millisecond + time.Millisecond)
		if h := g.Health(); h.Broken != 4 || h.BrokenWhy != "cut short" {
			t.Errorf("%d broken (%q) while the source is open, want 4 that are cut short", h.Broken, h.BrokenWhy)
		}
		expectState(t, g, StateOK)
		for g.Health().Reopens < 2 {
			time.Sleep(time.Millisecond)
		}
		if h := g.Health(); h.Broken != 8 || h.BrokenWhy != "cut short" {
			t.Errorf("%d broken (%q) after two acquisitions, want 8 that are cut short", h.Broken, h.BrokenWhy)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		if h := g.Health(); h.Broken != 8 {
			t.Errorf("%d broken after the end, want 8", h.Broken)
		}
	})
}
