package main

import (
	"context"
	"sync"
	"time"
)

// stills are the times in which the machine ran nobody: on a virtual machine
// the host takes the processor away for tens of milliseconds. Who wakes every
// few milliseconds, as here, notices; a pause that the agent shares with us is
// not the agent's.
type stills struct {
	mu   sync.Mutex // guards all
	all  []span
	done chan struct{}
}

const (
	stillTick  = 2 * time.Millisecond
	stillLeast = 5 * time.Millisecond // what any timer may be late
)

// watchMachine looks until ctx ends; wait for done then.
func watchMachine(ctx context.Context) *stills {
	s := &stills{done: make(chan struct{})}
	go func() {
		defer close(s.done)
		tick := time.NewTicker(stillTick)
		defer tick.Stop()
		for last := time.Now(); ; {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			now := time.Now()
			if now.Sub(last) > stillTick+stillLeast {
				s.mu.Lock()
				s.all = append(s.all, span{last.Add(stillTick), now})
				s.mu.Unlock()
			}
			last = now
		}
	}()
	return s
}

// within is how much of a span the machine stood still; none if nobody looked.
func (s *stills) within(in span) (sum time.Duration) {
	if s == nil {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, still := range s.all {
		from, to := later(still.from, in.from), still.to
		if in.to.Before(to) {
			to = in.to
		}
		sum += max(to.Sub(from), 0)
	}
	return sum
}
