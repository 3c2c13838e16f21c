package agent

import (
	"maps"
	"slices"
	"sync"
	"time"
)

// running are the agent's parts, by name, so that an end that waits for one in
// vain can say for which. Its zero value is ready.
type running struct {
	all sync.WaitGroup

	mu    sync.Mutex // guards names
	names map[string]bool
}

func (r *running) run(name string, f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.names == nil {
		r.names = map[string]bool{}
	}
	r.names[name] = true
	r.all.Go(func() {
		f()
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.names, name)
	})
}

// join waits until all parts have ended, or limit is over, and says which have not.
func (r *running) join(limit time.Duration) (left []string) {
	done := make(chan struct{})
	go func() { // ends with the last part
		r.all.Wait()
		close(done)
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Keys(r.names))
}
