package camera

import "sync/atomic"

// Defects counts the frames that a source discarded because they were broken:
// flagged by the driver, cut short, not what their format demands. They never
// reach Next's caller.
type Defects struct {
	Broken uint64
	Last   string // what was wrong with the last one, for people; may be ""
}

// DefectCounter may be implemented by a Source. Defects counts from its opening
// on, never waits, and may be called from any goroutine, also during Next and after
// Close.
type DefectCounter interface {
	Defects() Defects
}

// DefectCount is a DefectCounter for a Source to embed. Its zero value is ready.
type DefectCount struct {
	broken atomic.Uint64
	last   atomic.Pointer[string]
}

var _ DefectCounter = (*DefectCount)(nil)

// AddDefect counts a broken frame. what never shows credentials.
func (c *DefectCount) AddDefect(what string) {
	c.last.Store(&what)
	c.broken.Add(1)
}

// Defects is what was counted so far.
func (c *DefectCount) Defects() Defects {
	d := Defects{Broken: c.broken.Load()}
	if last := c.last.Load(); last != nil {
		d.Last = *last
	}
	return d
}

// setDefects takes the count of a source that has been opened, or with nil
// settles that of one that has been closed. One source is open at a time.
func (g *Grabber) setDefects(c DefectCounter) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.countDefects(&g.health)
	g.defects = c
}

// countDefects completes h, which holds what earlier sources discarded. The
// caller holds mu.
func (g *Grabber) countDefects(h *Health) {
	if g.defects == nil {
		return
	}
	d := g.defects.Defects()
	h.Broken += d.Broken
	if d.Last != "" {
		h.BrokenWhy = d.Last
	}
}
