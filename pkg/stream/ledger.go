package stream

import (
	"maps"
	"slices"

	"framekeeper/pkg/frame"
)

// Bounds of a ledger's memory. An epoch is one start of the agent; what is
// forgotten of one beyond the bound is handled again if it comes again, and a run
// beyond the bound stays missing.
const (
	maxEpochs = 1 << 14
	maxRuns   = 256 // of one epoch
)

// class is what became of an ID that was passed and not delivered.
type class int

const (
	uncounted  class = iota // it is from before the consumer began, or was no frame
	declared                // lost, as an entry declares
	trimmed                 // removed from the stream's start
	undeclared              // missing without a declaration
	corrupt                 // read, and damaged
)

// counter is the figure that has IDs of a class; nil: none.
func (s *ConsumerStats) counter(c class) *uint64 {
	switch c {
	case declared:
		return &s.Declared
	case trimmed:
		return &s.Trimmed
	case undeclared:
		return &s.Undeclared
	case corrupt:
		return &s.Corrupt
	default:
		return nil
	}
}

// run are sequence numbers of one epoch, both ends included; none if the first is
// above the last.
type run struct {
	first, last uint64
	class       class
}

// above are the sequence numbers above high, up to last.
func above(high, last uint64) run {
	if last <= high {
		return run{first: 1}
	}
	return run{first: high + 1, last: last}
}

func (r run) as(c class) run { return run{r.first, r.last, c} }

func (r run) size() uint64 {
	if r.last < r.first {
		return 0
	}
	return r.last - r.first + 1
}

// passage is what was passed of one epoch: all up to high. Of that everything was
// delivered but the missing runs.
type passage struct {
	high    uint64
	missing []run // in the order in which they were found missing
	unknown bool  // whether there were others above high, and what became of them, is in Unknown
}

// add records IDs above high, or some that take has taken.
func (p *passage) add(r run) {
	p.high = max(p.high, r.last)
	if n := len(p.missing); n > 0 && p.missing[n-1].class == r.class && p.missing[n-1].last+1 == r.first {
		p.missing[n-1].last = r.last
		return
	}
	p.missing = append(p.missing, r)
	if len(p.missing) > maxRuns {
		p.missing = slices.Delete(p.missing, 0, maxRuns/2)
	}
}

// take removes IDs from the missing ones, and returns those that were among them.
func (p *passage) take(first, last uint64) (taken []run) {
	var rest []run
	for _, r := range p.missing {
		part := run{max(r.first, first), min(r.last, last), r.class}
		if part.size() == 0 {
			rest = append(rest, r)
			continue
		}
		taken = append(taken, part)
		if r.first < part.first {
			rest = append(rest, run{r.first, part.first - 1, r.class})
		}
		if part.last < r.last {
			rest = append(rest, run{part.last + 1, r.last, r.class})
		}
	}
	p.missing = rest
	return taken
}

// lacks reports whether any of the IDs is missing, and of another class than that.
func (p *passage) lacks(first, last uint64, than class) bool {
	return slices.ContainsFunc(p.missing, func(r run) bool {
		return r.class != than && r.first <= last && first <= r.last
	})
}

// ledger has what a consumer passed, by epoch, so that an ID is delivered once
// however often it comes, and what comes after it was counted missing is delivered
// after all. Each ID is in one figure of the stats.
type ledger map[uint64]*passage

// passed reports whether an ID was passed: delivered, or counted.
func (l ledger) passed(id frame.ID) bool {
	p := l[id.Epoch]
	return p != nil && id.Seq <= p.high
}

// skipped reports whether "started" names frames below the watermark that were never
// passed: a stranger's ID had raised that, and the stream began anew below it since.
func (l ledger) skipped(mark frame.ID, h *frame.Header) bool {
	if h.Status != frame.StatusStarted || h.Previous == nil || !h.Previous.Less(mark) || l.passed(*h.Previous) {
		return false
	}
	for epoch := range l { // else this consumer began later
		if epoch < h.Previous.Epoch {
			return true
		}
	}
	return false
}

// duplicate reports whether an entry that was passed has nothing new: no frame that
// was counted missing, and no declaration of such ones.
func (l ledger) duplicate(id frame.ID, h *frame.Header, damaged bool) bool {
	switch {
	case damaged:
		return true
	case h.Status == frame.StatusDropped:
		return !l[id.Epoch].lacks(covered(id, h), id.Seq, declared)
	default:
		return !l[id.Epoch].lacks(id.Seq, id.Seq, -1)
	}
}

// open begins an epoch, of which the IDs below first, at least 1, are not counted:
// the entry 0 of an epoch is no frame.
func (l ledger) open(epoch, first uint64) {
	if l[epoch] != nil {
		return
	}
	l[epoch] = &passage{high: first - 1, missing: []run{{0, first - 1, uncounted}}}
}

// forget keeps the ledger within its bound, and the epoch that is being read.
func (l ledger) forget(reading uint64) {
	if len(l) <= maxEpochs {
		return
	}
	epochs := slices.Sorted(maps.Keys(l))
	oldest := epochs[0]
	if oldest == reading {
		oldest = epochs[1]
	}
	delete(l, oldest)
}

// count records IDs of an open epoch as missing; there is nothing between them and
// what was passed. Those that were passed before and
// delivered stay delivered; those that were counted otherwise change sides.
func (l ledger) count(epoch uint64, r run, s *ConsumerStats) {
	p := l[epoch]
	parts := p.take(r.first, r.last)
	for _, part := range parts {
		if n := s.counter(part.class); n != nil {
			*n -= part.size()
		}
	}
	if rest := above(p.high, r.last); rest.size() > 0 {
		parts = append(parts, rest)
	}
	for _, part := range parts {
		if n := s.counter(r.class); n != nil {
			*n += part.size()
		}
		p.add(part.as(r.class))
	}
}

// deliver records an entry of an open epoch as delivered.
func (l ledger) deliver(id frame.ID, status frame.Status, s *ConsumerStats) {
	p := l[id.Epoch]
	for _, r := range p.take(id.Seq, id.Seq) {
		if n := s.counter(r.class); n != nil {
			*n--
		}
	}
	p.high = max(p.high, id.Seq)
	if status == frame.StatusOK {
		s.Delivered++
	}
}
