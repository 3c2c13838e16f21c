package main

import (
	"fmt"
	"time"

	"framekeeper/pkg/frame"
)

// books accounts for every ID of all epochs.
type books struct {
	Captured   uint64 `json:"captured"`
	Delivered  uint64 `json:"delivered"` // read from the stream, each once
	Declared   uint64 `json:"declared"`  // a "dropped" entry stands for them
	Trimmed    uint64 `json:"trimmed"`   // the reader lagged beyond the stream's bound, and said so
	Unknown    uint64 `json:"unknown"`   // an agent that was killed took them along
	Duplicates uint64 `json:"duplicates"`
	Undeclared uint64 `json:"undeclared"`
}

// kill is one kill -9 of the agent and what it may cost: the frames exposed in
// the window before it.
type kill struct {
	epoch  uint64
	at     time.Time
	window time.Duration
	state  string
}

// epochBook is what was read of one epoch.
type epochBook struct {
	ids  map[uint64]byte // seq → delivered or declared
	top  uint64          // highest of them
	last time.Time       // exposure of the latest frame delivered
}

const (
	isDelivered byte = 1
	isDeclared  byte = 2
)

// ledgerOf sorts what a reader took by epochs and finds what came twice.
func ledgerOf(shots []shot) (epochs map[uint64]*epochBook, duplicates []string) {
	type exposure struct{ epoch, sensor uint64 }
	epochs = map[uint64]*epochBook{}
	exposures, requests := map[exposure]frame.ID{}, map[string]frame.ID{}
	twice := func(s shot, what string, first frame.ID) {
		duplicates = append(duplicates, fmt.Sprintf("%s is %s as %s", s.id, what, first))
	}
	for _, s := range shots {
		e := epochs[s.id.Epoch]
		if e == nil {
			e = &epochBook{ids: map[uint64]byte{}}
			epochs[s.id.Epoch] = e
		}
		switch s.status {
		case frame.StatusDropped:
			for seq := s.first.Seq; seq <= s.id.Seq; seq++ {
				if e.ids[seq] == 0 {
					e.ids[seq] = isDeclared
				}
			}
		case frame.StatusOK:
			key := exposure{s.id.Epoch, s.sensor}
			shown, seen := exposures[key]
			answered, known := requests[s.request]
			switch {
			case e.ids[s.id.Seq] == isDelivered:
				twice(s, "the same ID", s.id)
			case s.request != "" && known:
				twice(s, "the answer to the same request", answered)
			case s.request == "" && seen:
				twice(s, "the same exposure", shown)
			}
			e.ids[s.id.Seq] = isDelivered
			if s.request != "" {
				requests[s.request] = s.id
			} else {
				exposures[key] = s.id
			}
			if s.captured.After(e.last) {
				e.last = s.captured
			}
		default:
			continue
		}
		e.top = max(e.top, s.id.Seq)
	}
	return epochs, duplicates
}

// balance makes the books of one reader. Of an epoch that ended in order the
// agent says the last ID. Of one that was killed nobody can: what it took along
// is measured by the time between the last exposure that survived and the kill,
// and by the answers that were heard and whose entries are not in the stream.
func (s *scene) balance(w *watcher) (b books) {
	epochs, duplicates := ledgerOf(w.seen())
	b.Duplicates = uint64(len(duplicates))
	for _, d := range duplicates[:min(len(duplicates), 5)] {
		s.problem("duplicate: %s", d)
	}
	killed := map[uint64]kill{}
	for _, k := range s.kills {
		killed[k.epoch] = k
		if epochs[k.epoch] == nil {
			epochs[k.epoch] = &epochBook{}
		}
	}
	for epoch := range s.ends {
		if epochs[epoch] == nil {
			epochs[epoch] = &epochBook{}
		}
	}
	var missing uint64
	for epoch, e := range epochs {
		last := e.top
		if k, was := killed[epoch]; was {
			unknown := s.tail(k, e)
			b.Captured += unknown
			b.Unknown += unknown
		} else if end, ok := s.ends[epoch]; ok {
			last = max(last, end.Seq)
		} else {
			s.problem("nobody knows how epoch %d ended", epoch)
		}
		b.Captured += last
		for seq := uint64(1); seq <= last; seq++ {
			switch e.ids[seq] {
			case isDelivered:
				b.Delivered++
			case isDeclared:
				b.Declared++
			default:
				missing++
			}
		}
	}
	b.Trimmed = w.consumer.Stats().Trimmed
	if b.Trimmed > missing {
		s.problem("the reader reports %d trimmed frames, %d are missing", b.Trimmed, missing)
		b.Trimmed = missing
	}
	b.Undeclared = missing - b.Trimmed
	return b
}

// tail is how many frames a kill took along.
func (s *scene) tail(k kill, e *epochBook) (unknown uint64) {
	if top := s.listener.top(k.epoch); top > e.top {
		unknown = top - e.top
	}
	if e.last.IsZero() { // killed before its first frame was safe
		e.last = k.at
	}
	gone := max(k.at.Sub(e.last), 0)
	unknown = max(unknown, uint64(gone/s.interval()))
	s.tails[k.state] = append(s.tails[k.state], gone)
	// The tests run on machines that do other things: a sync of the disk takes longer there.
	if window := k.window + pick(s, 0, 300*time.Millisecond); gone > window {
		s.problem("the kill in state %s took along %s ms of frames, the window is %s ms", k.state, ms(gone), ms(window))
	}
	return unknown
}

// check says what is wrong with the books.
func (b books) check(name string, s *scene) {
	if b.Undeclared > 0 {
		s.problem("%s: %d frames are missing undeclared", name, b.Undeclared)
	}
	if b.Duplicates > 0 {
		s.problem("%s: %d duplicates", name, b.Duplicates)
	}
	if least := uint64(s.target); b.Captured < least {
		s.problem("%s: only %d frames were captured, want %d", name, b.Captured, least)
	}
}

func (b books) String() string {
	return fmt.Sprintf("captured %d = delivered %d + declared %d + trimmed %d + unknown %d + undeclared %d; duplicates %d",
		b.Captured, b.Delivered, b.Declared, b.Trimmed, b.Unknown, b.Undeclared, b.Duplicates)
}
