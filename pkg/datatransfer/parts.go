package datatransfer

import (
	"slices"
	"sync"
	"time"
)

// parts are goroutines of a session, each with a name, so that an end that
// waits for one can say for which, and need not wait for ever.
type parts struct {
	returnedLate func(name string) // called with a part that returns after it was abandoned

	mu        sync.Mutex // guards all below
	running   []string
	abandoned bool
	changed   chan struct{} // closed and replaced when a part returns
}

func newParts(returnedLate func(string)) *parts {
	return &parts{returnedLate: returnedLate, changed: make(chan struct{})}
}

// run starts a part.
func (p *parts) run(name string, f func()) {
	p.mu.Lock()
	p.running = append(p.running, name)
	p.mu.Unlock()
	go func() {
		defer p.returned(name)
		f()
	}()
}

func (p *parts) returned(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.Index(p.running, name)
	p.running = slices.Delete(p.running, i, i+1)
	if p.abandoned {
		p.returnedLate(name)
	}
	close(p.changed)
	p.changed = make(chan struct{})
}

// join waits until all parts have returned, or limit is over. Those that are
// left then are abandoned, and abandon is called with them first.
func (p *parts) join(limit time.Duration, abandon func(left []string)) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for over := false; ; {
		p.mu.Lock()
		left, changed := slices.Clone(p.running), p.changed
		if over && len(left) > 0 {
			p.abandoned = true
			abandon(left)
		}
		p.mu.Unlock()
		if len(left) == 0 || over {
			return
		}
		select {
		case <-changed:
		case <-timer.C:
			over = true
		}
	}
}
