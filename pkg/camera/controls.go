package camera

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// ControlSetter is a source whose controls can be set while it runs. The
// goroutine that calls Next calls SetControls between two frames; an error names
// the control, and what was expected.
type ControlSetter interface {
	SetControls(controls map[string]int64) error
}

// controlRequest is handed to the goroutine that reads the source.
type controlRequest struct {
	values map[string]int64
	reply  chan error // capacity 1
}

// SetControls sets controls of the open source, before its next frame. They
// stay when the source is reopened. A source without such controls is an error.
func (g *Grabber) SetControls(ctx context.Context, values map[string]int64) error {
	r := controlRequest{maps.Clone(values), make(chan error, 1)}
	select {
	case g.controls <- r:
		select {
		case err := <-r.reply:
			return err
		case <-ctx.Done():
		}
	case <-g.ended:
	case <-ctx.Done():
	}
	h := g.Health()
	err := fmt.Errorf("controls cannot be set now: camera %s", h.State)
	if h.Reason != "" {
		err = fmt.Errorf("%w: %s", err, h.Reason)
	}
	return err
}

// applyControls sets the controls requested since the last frame.
func (g *Grabber) applyControls(src Source) {
	select {
	case r := <-g.controls:
		r.reply <- g.apply(src, r.values)
	default:
	}
}

func (g *Grabber) apply(src Source, values map[string]int64) error {
	setter, ok := src.(ControlSetter)
	if !ok {
		return fmt.Errorf("controls %s: %s has none that can be set while it runs",
			strings.Join(slices.Sorted(maps.Keys(values)), ", "), RedactSource(g.cfg.Source))
	}
	if err := setter.SetControls(values); err != nil {
		return fmt.Errorf("set controls: %w", err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.setControls = merged(g.setControls, values)
	return nil
}

// currentConfig is the configuration with the controls as they were last set.
func (g *Grabber) currentConfig() Config {
	g.mu.Lock()
	defer g.mu.Unlock()
	cfg := g.cfg
	if len(g.setControls) > 0 {
		cfg.Controls = merged(cfg.Controls, g.setControls)
	}
	return cfg
}

// merged is a copy of base with the values of top in it.
func merged(base, top map[string]int64) map[string]int64 {
	all := make(map[string]int64, len(base)+len(top))
	maps.Copy(all, base)
	maps.Copy(all, top)
	return all
}
