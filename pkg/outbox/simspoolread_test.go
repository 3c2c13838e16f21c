package outbox

import (
	"fmt"
	"syscall"
	"time"

	"framekeeper/pkg/frame"
	"framekeeper/pkg/spool"
)

// Remove forgets every frame up to an ID; a file that cannot be deleted stays.
func (s *simSpool) Remove(upTo frame.ID) (err error) {
	s.alive()
	s.disk.call()
	for len(s.files) > 0 && !upTo.Less(s.files[0].id) {
		id := s.files[0].id
		s.disk.world.ledger.removed(id)
		s.forget(0)
		if s.disk.readOnly {
			err = fmt.Errorf("remove delivered frame %s: %w", id, explained(s.disk.failed(syscall.EROFS)))
			s.stats.Errors++
		} else {
			s.store.remove(id)
		}
		s.stats.Removed++
	}
	return err
}

// Expire drops what is too old, or too much.
func (s *simSpool) Expire() (losses []spool.Loss, err error) {
	s.alive()
	for len(s.files) > 0 {
		f, reason := s.files[0], ""
		switch {
		case s.age > 0 && s.disk.world.now-f.since+f.age > s.age:
			reason = spool.ReasonAge
		case s.bytes() > s.max:
			reason = spool.ReasonFull
		}
		if reason == "" {
			break
		}
		if losses, err = s.drop(losses, reason); err != nil {
			return losses, err
		}
	}
	return losses, nil
}

// Get reads a frame.
func (s *simSpool) Get(id frame.ID) (*frame.Message, error) {
	s.alive()
	s.disk.call()
	i, found := s.search(id)
	if !found {
		return nil, fmt.Errorf("read frame %s: %w", id, spool.ErrGone)
	}
	if err := s.disk.read(); err != nil {
		s.stats.Errors++
		return nil, fmt.Errorf("read frame %s: %w", id, err)
	}
	f := s.files[i]
	if f.torn {
		s.disk.world.ledger.spoolLost(id, spool.ReasonDamaged)
		s.forget(i)
		if !s.disk.readOnly {
			s.store.remove(id)
		}
		s.stats.Corrupt++
		return nil, fmt.Errorf("read frame %s: %w", id, spool.ErrCorrupt)
	}
	m, err := frame.ParseMessage(f.wire)
	if err != nil {
		return nil, fmt.Errorf("read frame %s: %w", id, err)
	}
	return m, nil
}

// Header reads a frame's header.
func (s *simSpool) Header(id frame.ID) (frame.Header, error) {
	m, err := s.Get(id)
	if err != nil {
		return frame.Header{}, err
	}
	return m.Header, nil
}

// Stats is the state of the spool.
func (s *simSpool) Stats() spool.Stats {
	st := s.stats
	st.Frames, st.Bytes = len(s.files), s.bytes()
	if n := len(s.files); n > 0 {
		st.Oldest, st.Newest = s.files[0].id, s.files[n-1].id
		st.OldestAt = simStart.Add(s.files[0].since - s.files[0].age)
	}
	return st
}

var simStart = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
