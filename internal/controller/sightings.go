package controller

import (
	"context"
	"sync"
	"time"

	"framekeeper/internal/status"
)

const (
	// sightInterval is how often agents are asked while Redis cannot be.
	sightInterval = time.Second
	// sightAge is how old what an agent has reported may be: one that hangs is not to
	// be shown by what it reported before.
	sightAge = 4 * time.Second
)

// sightings are what the agents report of themselves over their own sockets, while
// the controller has no link: the cameras go on without Redis, and can be seen to. After
// that they show what came of the outage.
type sightings struct {
	wanted func() bool
	names  func() []string
	ask    func(ctx context.Context, camera string) ([]byte, error)

	mu   sync.Mutex // guards seen
	seen map[string]sighting
}

type sighting struct {
	agent *status.Agent
	at    time.Time
}

// run asks as long as somebody wants to know, until ctx ends.
func (s *sightings) run(ctx context.Context) error {
	tick := time.NewTicker(sightInterval)
	defer tick.Stop()
	for {
		if s.wanted() {
			s.look(ctx)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// look asks all agents at the same time: one that hangs delays the others' figures
// by what a call may take.
func (s *sightings) look(ctx context.Context) {
	var asking sync.WaitGroup
	for _, name := range s.names() {
		asking.Go(func() {
			text, err := s.ask(ctx, name)
			if err != nil {
				return
			}
			if seen := status.Observe(text); seen.Agent != nil {
				s.mu.Lock()
				defer s.mu.Unlock()
				if s.seen == nil {
					s.seen = map[string]sighting{}
				}
				s.seen[name] = sighting{seen.Agent, time.Now()}
			}
		})
	}
	asking.Wait()
}

// latest are those that are young enough to count, by camera.
func (s *sightings) latest(now time.Time) map[string]*status.Agent {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string]*status.Agent{}
	for name, one := range s.seen {
		if now.Sub(one.at) <= sightAge {
			all[name] = one.agent
		} else {
			delete(s.seen, name)
		}
	}
	return all
}
