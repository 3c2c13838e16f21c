package stream

import (
	"math/rand/v2"
	"slices"
	"testing"

	"framekeeper/pkg/frame"
)

// life is an agent, as little of it as fills a stream by the rules: entries in ID
// order, losses declared, nothing above the trim bound withheld.
type life struct {
	*memory
	rnd    *rand.Rand
	log    []frame.Header // everything that ever was to be in the stream, in order
	sent   int            // of these, so many are
	bound  frame.ID       // the stream was trimmed below it
	issued int            // frames with an ID
	closed bool           // every epoch so far has ended in order
}

func (l *life) next() frame.ID { return l.log[len(l.log)-1].ID.Next() }

func (l *life) capture(n int) {
	for range n {
		l.log = append(l.log, frame.Header{ID: l.next()})
		l.issued++
	}
}

func (l *life) lose(n int) {
	first := l.next()
	l.log = append(l.log, lost(first.Epoch, first.Seq, first.Seq+uint64(n)-1))
	l.issued += n
}

// send adds what is above the stream's last entry. What was trimmed stays away.
func (l *life) send(n int) {
	for ; n > 0 && l.sent < len(l.log); n-- {
		if h := l.log[l.sent]; !h.ID.Less(l.bound) {
			l.put(h)
		}
		l.sent++
	}
}

// cut is what a Redis does that loses its newest entries, or all; what the agent holds
// no more of them becomes a declaration.
func (l *life) cut(n int) {
	n = min(n, len(l.entries))
	l.entries = l.entries[:len(l.entries)-n]
	l.sent = 0
	for l.sent < len(l.log) && !l.last().Less(l.log[l.sent].ID) {
		l.sent++
	}
	for i := l.sent; i < min(l.sent+l.rnd.IntN(5), len(l.log)); i++ {
		if h := l.log[i]; h.Status == "" && !h.ID.Less(l.bound) {
			l.log[i] = lost(h.ID.Epoch, h.ID.Seq, h.ID.Seq)
		}
	}
}

func (l *life) restart(clean bool) {
	previous := l.log[len(l.log)-1].ID
	l.log = append(l.log, startedAfter(previous.Epoch+1+uint64(l.rnd.IntN(3)), previous, clean))
	l.closed = l.closed && clean
}

func (l *life) event() {
	switch l.rnd.IntN(12) {
	case 0, 1, 2:
		l.capture(1 + l.rnd.IntN(6))
	case 3:
		l.lose(1 + l.rnd.IntN(4))
	case 4, 5, 6:
		l.send(1 + l.rnd.IntN(8))
	case 7:
		l.restart(l.rnd.IntN(3) > 0)
	case 8:
		l.cut(l.rnd.IntN(10))
	case 9:
		if l.rnd.IntN(3) == 0 {
			l.cut(len(l.entries))
		}
	case 10:
		if n := len(l.entries); n > 4 {
			l.bound = frame.Later(l.bound, l.entries[l.rnd.IntN(n)].ID)
			l.trim(l.bound)
		}
	case 11:
		l.now = l.now.Add(restartWait / 2)
		l.fail = l.rnd.IntN(2) == 0
	}
}

// Whatever agent, Redis and disk do, in any order, also while the consumer is in the
// midst of a step: nothing is undeclared, nothing is handed over twice, and the
// figures have every ID once.
func TestConsumerUnderRandomEvents(t *testing.T) {
	for seed := range uint64(150) {
		l := &life{memory: newMemory(t, frame.ID{}), rnd: rand.New(rand.NewPCG(seed, 1)), closed: true}
		l.log = []frame.Header{{ID: id(100, 0), Status: frame.StatusStarted}}
		l.capture(1)
		l.send(2)
		l.step()
		for range 200 {
			l.event()
			l.reply = 1 + l.rnd.IntN(8)
			if l.rnd.IntN(6) == 0 {
				l.between = func() { l.event(); l.between = l.event }
				l.step()
			}
		}
		l.between = nil
		l.send(len(l.log))
		s := l.settle()
		if l.check(s); t.Failed() {
			t.Fatalf("seed %d: %+v", seed, s)
		}
	}
}

func (l *life) check(s ConsumerStats) {
	sorted := slices.Clone(l.got)
	slices.Sort(sorted)
	frames := 0
	for i, e := range sorted {
		if e[0] != 'd' && i > 0 && e == sorted[i-1] { // a declaration may come again and tell more
			l.t.Errorf("%s was handed over twice", e)
		}
		if e[0] != 'd' && e[0] != 's' {
			frames++
		}
	}
	sum := int(s.Delivered + s.Declared + s.Trimmed)
	switch {
	case s.Undeclared > 0 || s.Corrupt > 0 || s.Delivered != uint64(frames):
		l.t.Errorf("%d frames were handed over, and something is undeclared", frames)
	case sum > l.issued || s.Unknown == 0 && sum != l.issued:
		l.t.Errorf("%d frames are accounted for, want %d", sum, l.issued)
	case l.closed && s.Unknown > 0 && s.Trimmed == 0 && l.bound.IsZero():
		l.t.Errorf("something is unknown, though no agent was killed and nothing trimmed")
	case s.Watermark != l.last():
		l.t.Errorf("the watermark is not at %s", l.last())
	}
	for _, e := range l.entries {
		if !slices.Contains(l.got, e.ID.String()) && l.log[slices.IndexFunc(l.log, func(h frame.Header) bool { return h.ID == e.ID })].Status == "" {
			l.t.Errorf("%s is in the stream and was not handed over", e.ID)
		}
	}
}
