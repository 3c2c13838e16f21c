package outbox

import (
	"slices"
	"time"

	"framekeeper/pkg/frame"
)

// simStore is a spool's directory.
type simStore struct {
	files  []*simStored // in ID order
	ghosts []*simStored // removed, but a power cut may bring them back
}

// simStored is a frame's file.
type simStored struct {
	id      frame.ID
	wire    []byte
	written time.Time     // wall clock
	life    int           // that wrote it
	durable bool          // a power cut leaves it
	torn    bool          // its bytes are not those that were written
	empty   bool          // it has none
	age     time.Duration // when the present process opened it, or since when it has it
	since   time.Duration
}

func (s *simStore) search(id frame.ID) (int, bool) {
	return slices.BinarySearchFunc(s.files, id, func(f *simStored, id frame.ID) int { return f.id.Compare(id) })
}

func (s *simStore) insert(f *simStored) {
	if i, found := s.search(f.id); !found {
		s.files = slices.Insert(s.files, i, f)
	}
}

// remove takes a file away; the removal is not synced.
func (s *simStore) remove(id frame.ID) {
	i, found := s.search(id)
	if !found {
		return
	}
	if f := s.files[i]; f.durable {
		s.ghosts = append(s.ghosts, f)
	}
	s.files = slices.Delete(s.files, i, i+1)
}

// powerCut takes, tears or leaves what was not synced, and brings removed files back.
func (s *simStore) powerCut(rng simRandom, lost func(frame.ID)) {
	var left []*simStored
	for _, f := range s.files {
		if !f.durable {
			switch rng.IntN(4) {
			case 0:
				lost(f.id)
				continue
			case 1:
				f.torn = true
			case 2:
				f.empty = true
			}
			f.durable = true
		}
		left = append(left, f)
	}
	s.files = left
	back := s.ghosts
	s.ghosts = nil
	for _, f := range back {
		if rng.percent(60) {
			s.insert(f)
		}
	}
}

// settle is a sync of the directory, which may cover removals.
func (s *simStore) settle(rng simRandom) {
	for _, f := range s.files {
		f.durable = true
	}
	if rng.percent(50) {
		s.ghosts = nil
	}
}
