package outbox

import (
	"context"
	"maps"
	"sync"

	"framekeeper/pkg/frame"
)

// Stats is the state of the log and its counters, in frames.
type Stats struct {
	Newest     frame.ID `json:"newest"`  // last ID given
	Oldest     frame.ID `json:"oldest"`  // oldest in the log
	Durable    frame.ID `json:"durable"` // last ID known to be in Redis
	Added      uint64   `json:"added"`
	Sent       uint64   `json:"sent"`    // confirmed by Redis, each once
	Resent     uint64   `json:"resent"`  // unsent again because Redis had lost them
	Dropped    uint64   `json:"dropped"` // lost before Redis had them, and declared
	Unsent     int      `json:"unsent"`
	UnsentSize int64    `json:"unsent_bytes"` // in memory
	MemorySize int64    `json:"held_bytes"`   // in memory, unsent and retained together
}

// unsentItems is how many items are still to be sent, "started" apart.
func (l *Log) unsentItems() (n int) {
	n = len(l.items) - l.delivered
	if n > 0 && l.startedUnsent() {
		n--
	}
	return n
}

// startedUnsent reports whether "started" waits to be sent.
func (l *Log) startedUnsent() bool {
	id := frame.ID{Epoch: l.epoch}
	i := l.items.search(id)
	return i >= l.delivered && i < len(l.items) && l.items[i].isStarted
}

// Stats is the state of the log and its counters.
func (l *Log) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stats
	s.Unsent, s.UnsentSize = l.unsentItems(), l.unsentBytes()
	s.MemorySize = l.memory()
	if len(l.items) > 0 {
		s.Oldest = l.items[0].first
	}
	return s
}

// Losses counts the frames lost since the start, by kind. Unlike Stats.Dropped it
// never falls: a frame that is read back after all, or was in Redis already, stays
// counted.
func (l *Log) Losses() map[string]uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.losses)
}

// Epoch is the epoch of the IDs that are given.
func (l *Log) Epoch() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.epoch
}

// Persisted is the last ID that Redis or the disk has, or that is known to be lost,
// and whether that are all.
func (l *Log) Persisted() (last frame.ID, all bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	last = l.stats.Durable
	for _, e := range l.items[l.delivered:] {
		if e.place == inMemory && !e.isStarted {
			return last, false
		}
		last = e.id
	}
	return last, true
}

// saveEpoch saves the epoch in use, before any of its IDs is. A state directory that
// cannot be written is logged; IDs then depend on the clock and the stream.
func (l *Log) saveEpoch() {
	if l.cfg.Claim == nil {
		return
	}
	if err := l.cfg.Claim.setEpoch(l.Epoch(), l.snapshot()); err != nil {
		l.cfg.Log.Error().Err(err).Msg("The epoch cannot be saved: IDs depend on the clock alone")
	}
}

// snapshot is what the journal saves.
func (l *Log) snapshot() ledger {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ledger.clone()
}

// atEnd is what the journal saves at an orderly end: frames that only memory has are
// lost with it. Of a stream the next start sees that; on the channel what is missing
// may as well have been answers.
func (l *Log) atEnd() ledger {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.items[l.delivered:] {
		if l.cfg.Stream == 0 && e.place == inMemory {
			l.ledger.addLoss(e.id, e.id, reasonRestart)
		}
	}
	return l.ledger.clone()
}

// Flush waits until Redis has everything, or ctx ends.
func (l *Log) Flush(ctx context.Context) error {
	return flush(ctx, &l.mu, func() (bool, <-chan struct{}) { return l.unsentItems() == 0, l.drained })
}

// flush waits until state, which mu guards, is done. Its channel is closed when it may be.
func flush(ctx context.Context, mu *sync.Mutex, state func() (done bool, changed <-chan struct{})) error {
	for {
		mu.Lock()
		done, changed := state()
		mu.Unlock()
		if done {
			return nil
		}
		if !await(ctx, changed) {
			return ctx.Err()
		}
	}
}
