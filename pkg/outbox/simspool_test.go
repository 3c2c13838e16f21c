package outbox

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"framekeeper/pkg/frame"
	"framekeeper/pkg/spool"
)

func isErrno(err error, no syscall.Errno) bool { return errors.Is(err, no) }

// simSpool is an open spool: what *spool.Spool is on a real disk.
type simSpool struct {
	disk  *simDisk
	store *simStore
	life  int
	max   int64
	age   time.Duration

	files  []*simStored // those that it has; a file that could not be removed is only in store
	stats  spool.Stats
	noRoom bool
}

const simBlock = 64 // what a file's size is rounded up to

func simCost(wire []byte) int64 { return (int64(len(wire)) + simBlock) / simBlock * simBlock }

// openSimSpool opens a directory as spool.Open does.
func openSimSpool(d *simDisk, name string, life int, limit int64, age time.Duration) (*simSpool, []spool.Loss, error) {
	if err := d.read(); err != nil || d.unmounted {
		return nil, nil, errors.Join(err, syscall.ENOENT)
	}
	s := &simSpool{disk: d, store: d.stores[name], life: life, max: limit, age: age}
	var losses []spool.Loss
	now := d.world.wall()
	for _, f := range slices.Clone(s.store.files) {
		if f.empty {
			losses = s.lose(losses, f.id, spool.ReasonDamaged)
			s.stats.Corrupt++
			if !d.readOnly {
				s.store.remove(f.id)
			}
			continue
		}
		f.since = d.world.now
		if f.age = now.Sub(f.written); f.age < 0 || f.age > 365*24*time.Hour {
			f.age = 0
		}
		s.files = append(s.files, f)
	}
	more, _ := s.Expire() // a later one returns the error
	return s, append(losses, more...), nil
}

func (s *simSpool) lose(losses []spool.Loss, id frame.ID, reason string) []spool.Loss {
	s.disk.world.ledger.spoolLost(id, reason)
	if n := len(losses); n > 0 && losses[n-1].Reason == reason && losses[n-1].Last.Next() == id {
		losses[n-1].Last = id
		return losses
	}
	return append(losses, spool.Loss{First: id, Last: id, Reason: reason})
}

func (s *simSpool) alive() { s.disk.world.alive(s.life) }

func (s *simSpool) bytes() (n int64) {
	for _, f := range s.files {
		n += simCost(f.wire)
	}
	return n
}

func (s *simSpool) search(id frame.ID) (int, bool) {
	return slices.BinarySearchFunc(s.files, id, func(f *simStored, id frame.ID) int { return f.id.Compare(id) })
}

// forget takes the i-th file out of what the spool has.
func (s *simSpool) forget(i int) { s.files = slices.Delete(s.files, i, i+1) }

// drop removes the oldest.
func (s *simSpool) drop(losses []spool.Loss, reason string) ([]spool.Loss, error) {
	if s.disk.readOnly {
		return losses, explained(s.disk.failed(syscall.EROFS))
	}
	id := s.files[0].id
	s.forget(0)
	s.store.remove(id)
	s.stats.Dropped++
	return s.lose(losses, id, reason), nil
}

// IDs is up to n IDs above after.
func (s *simSpool) IDs(after frame.ID, n int) (ids []frame.ID) {
	for _, f := range s.files {
		if after.Less(f.id) && len(ids) < n {
			ids = append(ids, f.id)
		}
	}
	return ids
}

// Put writes one frame, unsynced.
func (s *simSpool) Put(m *frame.Message) (losses []spool.Loss, err error) {
	s.alive()
	s.disk.call()
	id := m.Header.ID
	if _, found := s.search(id); found {
		return nil, nil
	}
	need := simCost(m.Wire())
	if need > s.max {
		s.disk.world.ledger.spoolLost(id, spool.ReasonFull)
		return nil, fmt.Errorf("spool frame %s: %w", id, spool.ErrTooLarge)
	}
	for s.bytes()+need > s.max {
		if id.Less(s.files[0].id) {
			s.stats.Dropped++
			return s.lose(losses, id, spool.ReasonFull), nil
		}
		if losses, err = s.drop(losses, spool.ReasonFull); err != nil {
			return losses, err
		}
	}
	if losses, err = s.makeWay(id, losses); err != nil {
		s.stats.Errors++
		return losses, fmt.Errorf("spool frame %s: %w", id, explained(err))
	}
	w := s.disk.world
	f := &simStored{id: id, wire: slices.Clone(m.Wire()), written: w.wall(), since: w.now, life: s.life}
	s.store.remove(id) // a file that could not be removed before
	s.store.insert(f)
	i, _ := s.search(id)
	s.files = slices.Insert(s.files, i, f)
	s.stats.Written++
	s.disk.call()
	return losses, nil
}

// makeWay is writing on a disk that is full: once the oldest makes room for it.
func (s *simSpool) makeWay(id frame.ID, losses []spool.Loss) ([]spool.Loss, error) {
	err := s.disk.write()
	if !isErrno(err, syscall.ENOSPC) || s.noRoom {
		s.noRoom = s.noRoom && err != nil
		return losses, err
	}
	if len(s.files) > 0 && s.files[0].id.Less(id) {
		if losses, e := s.drop(losses, spool.ReasonDisk); e == nil && s.disk.world.rng.percent(50) {
			return losses, nil
		} else if e == nil {
			s.noRoom = true
			return losses, err
		}
	}
	s.noRoom = true
	return losses, err
}

// Sync makes what was put durable. What the disk refuses is lost.
func (s *simSpool) Sync() (losses []spool.Loss, err error) {
	s.alive()
	s.disk.call()
	if err := s.disk.read(); err != nil || s.disk.readOnly {
		if s.disk.world.rng.percent(50) {
			for i := len(s.files) - 1; i >= 0; i-- {
				if f := s.files[i]; !f.durable && f.life == s.life {
					s.forget(i)
					s.store.remove(f.id)
					losses = append([]spool.Loss{{First: f.id, Last: f.id, Reason: spool.ReasonRefused}}, losses...)
				}
			}
		}
		s.stats.Errors++
		return losses, fmt.Errorf("sync spool: %w", errors.Join(err, syscall.EIO))
	}
	s.store.settle(s.disk.world.rng)
	return nil, nil
}
