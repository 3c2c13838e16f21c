package camera

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"
)

// tunable is a source with controls.
type tunable struct {
	fakeSource
	sets   chan map[string]int64
	refuse error
}

func (s *tunable) SetControls(c map[string]int64) error {
	if s.refuse == nil {
		s.sets <- c
	}
	return s.refuse
}

func TestSetControls(t *testing.T) {
	bubble(t, "between two frames", func(t *testing.T) {
		sets := make(chan map[string]int64, 1)
		opened := make(chan map[string]int64, 100)
		unplugged := func(context.Context, *Frame, int) error { return errors.New("unplugged") }
		open := func(_ context.Context, c Config) (Source, error) {
			opened <- c.Controls
			return &tunable{fakeSource: fakeSource{next: then(20, every(10*time.Millisecond), unplugged)}, sets: sets}, nil
		}
		cfg := testConfig()
		cfg.Controls = map[string]int64{"gain": 3, "focus": 1}
		g := newTestGrabber(cfg, open)
		running(t, g)
		want := map[string]int64{"gain": 4}
		if err := g.SetControls(t.Context(), want); err != nil {
			t.Fatal(err)
		}
		if got := <-sets; !maps.Equal(got, want) {
			t.Errorf("the source got %v, want %v", got, want)
		}
		<-opened
		if got := <-opened; !maps.Equal(got, map[string]int64{"gain": 4, "focus": 1}) {
			t.Errorf("reopened with %v, want the new gain", got)
		}
		if cfg.Controls["gain"] != 3 {
			t.Error("the configuration itself was changed")
		}
	})
	bubble(t, "refused", func(t *testing.T) {
		refusal := errors.New(`control "gain" = 999: expected 0 to 10`)
		g := newTestGrabber(testConfig(), func(context.Context, Config) (Source, error) {
			return &tunable{fakeSource: fakeSource{next: every(time.Millisecond)}, refuse: refusal}, nil
		})
		running(t, g)
		if err := g.SetControls(t.Context(), map[string]int64{"gain": 999}); !errors.Is(err, refusal) {
			t.Errorf("got %v, want the source's own words", err)
		}
		if c := g.currentConfig().Controls; len(c) != 0 {
			t.Errorf("a refused control is kept: %v", c)
		}
	})
	bubble(t, "none", func(t *testing.T) {
		g := newTestGrabber(testConfig(), (&fakeCamera{acquisitions: []step{every(time.Millisecond)}}).open)
		stop := running(t, g)
		err := g.SetControls(t.Context(), map[string]int64{"gain": 1, "focus": 2})
		if err == nil || !strings.Contains(err.Error(), "controls focus, gain") || !strings.HasSuffix(err.Error(), "none that can be set while it runs") ||
			strings.Contains(err.Error(), "secret") {
			t.Errorf("got %v, want that the source has none, with the controls' names and no password", err)
		}
		_ = stop()
		if err := g.SetControls(t.Context(), map[string]int64{"gain": 1}); err == nil || !strings.Contains(err.Error(), "camera ended") {
			t.Errorf("after the end: got %v", err)
		}
	})
	bubble(t, "silent camera", func(t *testing.T) {
		g := newTestGrabber(testConfig(), (&fakeCamera{acquisitions: []step{then(1, every(time.Millisecond), silent)}}).open)
		running(t, g)
		time.Sleep(10 * time.Millisecond)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := g.SetControls(ctx, map[string]int64{"gain": 1}); err == nil || !strings.Contains(err.Error(), "cannot be set now") {
			t.Errorf("got %v, want that it cannot be set now", err)
		}
	})
}
