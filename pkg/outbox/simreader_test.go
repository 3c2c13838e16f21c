package outbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/pkg/frame"
	"framekeeper/pkg/stream"
)

// simReader is somebody who reads the stream with a real Consumer, and writes down
// what comes. It is a part of the oracle: what it has is what was delivered.
type simReader struct {
	world   *simWorld
	name    string
	lag     time.Duration // between two steps, at most
	session *simSession
	reader  *stream.Consumer

	mark     frame.ID // saved with what it has
	got      map[uint64]frame.ID
	given    map[uint64]bool   // those that the present process was given
	frames   uint64            // that it was given
	declared map[frame.ID]bool // to it, before it had them
	never    map[frame.ID]bool // and the stream had not had them
	unclean  []frame.ID
	past     stream.ConsumerStats // of those before reader
	failing  int                  // of a hundred entries, how many cannot be stored at once
}

func newSimReader(w *simWorld, name string) *simReader {
	r := &simReader{world: w, name: name, got: map[uint64]frame.ID{}, declared: map[frame.ID]bool{}, never: map[frame.ID]bool{}}
	r.restart()
	return r
}

// restart is a new process, which has nothing but the saved watermark.
func (r *simReader) restart() {
	if r.reader != nil {
		r.past = r.stats()
	}
	r.session, r.given = nil, map[uint64]bool{}
	r.reader = stream.NewConsumer(stream.ConsumerConfig{
		Key: "frames:cam", From: r.mark, FromStart: true, Handle: r.handle, Now: r.world.instant, Log: zerolog.Nop(),
	})
}

// stats is the consumer's account, over all its processes.
func (r *simReader) stats() stream.ConsumerStats {
	s := r.reader.Stats()
	s.Delivered += r.past.Delivered
	s.Declared += r.past.Declared
	s.Trimmed += r.past.Trimmed
	s.Undeclared += r.past.Undeclared
	s.UncleanStart += r.past.UncleanStart
	s.Restarts += r.past.Restarts
	return s
}

// step reads once.
func (r *simReader) step() (wait, rest time.Duration) {
	w := r.world
	if r.session == nil || r.session.ended {
		if !w.redis.up {
			return time.Second, 0
		}
		r.session = &simSession{redis: w.redis, safe: true}
	}
	err := r.reader.Step(context.Background(), simSource{r.session})
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, stream.ErrUnhandled) {
		w.ledger.fail("reader %s: %v", r.name, err)
	}
	if n := r.stats().Undeclared; n > 0 && w.ledger.stateGap == 0 { // else an epoch may be known to the stream alone, which may be lost
		w.ledger.fail("reader %s misses %d frames that nobody declared, up to %s", r.name, n, r.reader.Stats().Watermark)
	}
	if n := r.stats().Delivered; n != r.frames {
		w.ledger.fail("reader %s counts %d frames and has %d", r.name, n, r.frames)
	}
	return 20*time.Millisecond + w.rng.between(0, r.lag), 0
}

var errSimStore = errors.New("simulated: cannot be stored now")

// handle stores an entry, and the watermark with it.
func (r *simReader) handle(_ context.Context, m *frame.Message) error {
	l, h := r.world.ledger, m.Header
	if r.world.rng.percent(r.failing) {
		return errSimStore
	}
	switch h.Status {
	case frame.StatusOK:
		x := l.content(m)
		r.frames++
		// A frame that was given up while it was being written may be on disk all the same:
		// a later start sends it, if Redis has lost the declaration.
		if r.never[h.ID] && !x.uncertain() && x.life == r.world.lives {
			l.fail("reader %s has frame %d as %s, which was declared to it", r.name, x.n, h.ID)
		}
		if was, again := r.got[x.n]; again && (was == h.ID && r.given[x.n] || was != h.ID && !x.uncertain()) {
			l.fail("reader %s has frame %d as %s already when it comes as %s", r.name, x.n, was, h.ID)
		}
		r.got[x.n], r.given[x.n] = h.ID, true
	case frame.StatusDropped:
		l.each(h, func(x *exposure) {
			if _, has := r.got[x.n]; !has {
				r.declared[x.id], r.never[x.id] = true, !x.accepted
			}
		})
	case frame.StatusStarted:
		if h.Clean != nil && !*h.Clean {
			r.unclean = append(r.unclean, h.ID)
		}
	}
	r.world.trace.note("reader %s has %s", r.name, describe(h))
	r.mark = h.ID
	return nil
}

func describe(h frame.Header) string {
	switch h.Status {
	case frame.StatusDropped:
		return fmt.Sprintf("dropped %s to %s (%s)", h.First, h.Last, h.Reason)
	case frame.StatusStarted:
		return fmt.Sprintf("started %s after %v, clean %v", h.ID, h.Previous, h.Clean != nil && *h.Clean)
	default:
		return h.ID.String()
	}
}

// simSource is the stream as a reader's connection gives it.
type simSource struct{ *simSession }

var _ stream.Source = simSource{}

func (s simSource) Read(_ context.Context, after frame.ID, n int64, _ time.Duration) (entries []stream.Entry, err error) {
	err = s.call(func() error {
		for _, e := range s.redis.from(after.Next(), int(n)) {
			values := map[string]any{"a": "b"}
			if e.msg != nil {
				values = map[string]any{"header": string(e.msg.HeaderJSON()), "image": string(e.msg.Image())}
			}
			entries = append(entries, stream.Entry{ID: e.id, Values: values})
		}
		return nil
	})
	return entries, err
}

func (s simSource) First(context.Context) (id frame.ID, err error) {
	err = s.call(func() error {
		if len(s.redis.stream) > 0 {
			id = s.redis.stream[0].id
		}
		return nil
	})
	return id, err
}

func (s simSource) Last(context.Context) (id frame.ID, err error) {
	err = s.call(func() error {
		if n := len(s.redis.stream); n > 0 {
			id = s.redis.stream[n-1].id
		}
		return nil
	})
	return id, err
}
