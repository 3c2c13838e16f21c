package outbox

import "framekeeper/pkg/frame"

const (
	entryOverhead   = 256     // of an entry in Redis, beside its bytes
	declarationSize = 300     // of a declaration, about
	maxBoundRuns    = 1 << 16 // how many are remembered one by one
)

// streamBound is what the stream has, oldest first, as far as its bytes are known:
// which entries have to go so that new ones fit. It is the Log's, whose mutex guards
// it.
type streamBound struct {
	max   int64 // 0: there is no stream
	runs  []boundRun
	bytes int64 // of all runs
}

// boundRun is neighbouring entries; one, but for those of earlier starts.
type boundRun struct {
	last    frame.ID
	bytes   int64
	entries int64
}

func (b *streamBound) add(e streamEntry) { b.addSize(e.id, int64(e.msg.Size())) }

// addSize notes an entry that Redis has now.
func (b *streamBound) addSize(id frame.ID, size int64) {
	if b.max == 0 {
		return
	}
	b.runs = append(b.runs, boundRun{id, size + entryOverhead, 1})
	b.bytes += size + entryOverhead
	if len(b.runs) > maxBoundRuns {
		b.halve()
	}
}

// halve joins neighbours.
func (b *streamBound) halve() {
	joined := b.runs[:0]
	for i := 0; i < len(b.runs); i += 2 {
		r := b.runs[i]
		if i+1 < len(b.runs) {
			next := b.runs[i+1]
			r = boundRun{next.last, r.bytes + next.bytes, r.entries + next.entries}
		}
		joined = append(joined, r)
	}
	b.runs = joined
}

// floorWith is the ID below which entries have to go so that more fit. The newest
// one stays, however large.
func (b *streamBound) floorWith(more []streamEntry) (floor frame.ID) {
	if b.max == 0 {
		return floor
	}
	total := b.bytes
	for _, e := range more {
		total += int64(e.msg.Size()) + entryOverhead
	}
	for _, r := range b.runs {
		if total <= b.max {
			return floor
		}
		total -= r.bytes
		floor = r.last.Next()
	}
	for _, e := range more[:len(more)-1] {
		if total <= b.max {
			return floor
		}
		total -= int64(e.msg.Size()) + entryOverhead
		floor = e.id.Next()
	}
	return floor
}

// half is the ID below which half of the bytes are; zero if it cannot be said.
func (b *streamBound) half() (floor frame.ID) {
	gone := int64(0)
	for _, r := range b.runs[:max(len(b.runs)-1, 0)] {
		if gone += r.bytes; gone > b.bytes/2 {
			return r.last.Next()
		}
		floor = r.last.Next()
	}
	return floor
}

// trim notes that everything below floor is gone.
func (b *streamBound) trim(floor frame.ID) {
	n := 0
	for n < len(b.runs) && b.runs[n].last.Less(floor) {
		b.bytes -= b.runs[n].bytes
		n++
	}
	b.runs = b.runs[n:]
}

// cut notes that Redis has nothing above last.
func (b *streamBound) cut(last frame.ID) {
	for n := len(b.runs); n > 0 && last.Less(b.runs[n-1].last); n-- {
		b.bytes -= b.runs[n-1].bytes
		b.runs = b.runs[:n-1]
	}
}

// count is how many entries are known.
func (b *streamBound) count() (n int64) {
	for _, r := range b.runs {
		n += r.entries
	}
	return n
}

// seed puts entries of earlier starts before all others: so many, of that size each,
// evenly over the IDs of the spans.
func (b *streamBound) seed(spans []span, entries, size int64) {
	const parts = 64
	ids := uint64(0)
	for _, s := range spans {
		ids += s.last.Seq - s.first.Seq + 1
	}
	if b.max == 0 || entries <= 0 || ids == 0 {
		return
	}
	var old []boundRun
	passed, placed := uint64(0), int64(0)
	for _, s := range spans {
		n := s.last.Seq - s.first.Seq + 1
		step := max(n/parts, 1)
		for first := s.first.Seq; first <= s.last.Seq; first += step {
			last := min(first+step-1, s.last.Seq)
			if last > s.last.Seq-step { // the rest goes with it
				last = s.last.Seq
			}
			passed += last - first + 1
			share := int64(float64(passed)/float64(ids)*float64(entries)+0.5) - placed
			placed += share
			old = append(old, boundRun{frame.ID{Epoch: s.first.Epoch, Seq: last}, share * (size + entryOverhead), share})
			if last == s.last.Seq {
				break
			}
		}
	}
	for _, r := range old {
		b.bytes += r.bytes
	}
	b.runs = append(old, b.runs...)
}
