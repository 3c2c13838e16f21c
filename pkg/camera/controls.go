package camera

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// ControlSetter is a source whose controls can be set while it runs. The
// goroutine that calls Next calls SetControls between two frames; an error says
// which control, and what was expected.
type ControlSetter interface {
	SetControls(controls map[string]int64) error
}

// controlOrder is handed to the goroutine that reads the source.
type controlOrder struct {
	controls map[string]int64
	reply    chan error // capacity 1
}

// SetControls sets controls of the open source, before its next frame. They
// stay when the source is reopened. A source that cannot is ErrUnsupported.
func (g *Grabber) SetControls(ctx context.Context, controls map[string]int64) error {
	o := controlOrder{maps.Clone(controls), make(chan error, 1)}
	select {
	case g.orders <- o:
	case <-g.ended:
		return g.noControls()
	case <-ctx.Done():
		return g.noControls()
	}
	select {
	case err := <-o.reply:
		return err
	case <-ctx.Done():
		return g.noControls()
	}
}

// noControls is what keeps the source from taking an order.
func (g *Grabber) noControls() error {
	h := g.Health()
	err := fmt.Errorf("controls cannot be set now: camera %s", h.State)
	if h.Reason != "" {
		err = fmt.Errorf("%w: %s", err, h.Reason)
	}
	return err
}

// obey sets what was ordered since the last frame.
func (g *Grabber) obey(src Source) {
	select {
	case o := <-g.orders:
		o.reply <- g.setControls(src, o.controls)
	default:
	}
}

func (g *Grabber) setControls(src Source, controls map[string]int64) error {
	setter, ok := src.(ControlSetter)
	if !ok {
		return fmt.Errorf("controls %s: %s has none that can be set while it runs",
			strings.Join(slices.Sorted(maps.Keys(controls)), ", "), ShownSource(g.cfg.Source))
	}
	if err := setter.SetControls(controls); err != nil {
		return fmt.Errorf("set controls: %w", err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	all := maps.Clone(g.controls) // the one in use may be read
	if all == nil {
		all = map[string]int64{}
	}
	maps.Copy(all, controls)
	g.controls = all
	return nil
}

// toOpen is the configuration with the controls as they were last set.
func (g *Grabber) toOpen() Config {
	g.mu.Lock()
	defer g.mu.Unlock()
	cfg := g.cfg
	if len(g.controls) > 0 {
		cfg.Controls = maps.Clone(cfg.Controls)
		if cfg.Controls == nil {
			cfg.Controls = map[string]int64{}
		}
		maps.Copy(cfg.Controls, g.controls)
	}
	return cfg
}
