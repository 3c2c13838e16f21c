package controller

import (
	"context"
	"sync"
)

// slot runs one part of the box at a time: putting another one in ends the one
// before and waits for it.
type slot struct {
	mu     sync.Mutex      // guards all below
	ctx    context.Context //nolint:containedctx // of all its parts
	fail   context.CancelCauseFunc
	cancel context.CancelFunc // of the part that runs; nil: none does
	done   chan struct{}      // closed when that has ended
}

// open makes the slot usable; a part that fails ends the box.
func (s *slot) open(ctx context.Context, fail context.CancelCauseFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ctx, s.fail = ctx, fail
}

// put runs a part in the place of the one before.
func (s *slot) put(part func(context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end()
	ctx, cancel := context.WithCancel(s.ctx)
	done := make(chan struct{})
	s.cancel, s.done = cancel, done
	go func() { // joined by end
		defer close(done)
		if err := part(ctx); err != nil {
			s.fail(err)
		}
	}()
}

// clear ends the part that runs, and waits for it.
func (s *slot) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end()
}

// end does. The caller holds mu.
func (s *slot) end() {
	if s.cancel != nil {
		s.cancel()
		<-s.done
		s.cancel = nil
	}
}
