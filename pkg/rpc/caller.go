package rpc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"framekeeper/internal/async"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/redisconn"
)

// CallerConfig says what a Caller publishes.
type CallerConfig struct {
	Channel string
	What    string // "request", as errors name it
	// A call is repeated after RepeatAfter; each further wait is twice as long, up
	// to RepeatMost.
	RepeatAfter, RepeatMost time.Duration
	Unheard, Silent         string // why there is no answer: nobody has subscribed to the channel, or somebody has
}

// ErrNoAnswer says that a call expired. Its text says whether anybody received it.
var ErrNoAnswer = errors.New("no answer")

// Caller publishes calls and hands out their answers. A call that is not answered
// is repeated with the same id, also by the next session, until it is closed. Any
// goroutine may use it.
type Caller[M any] struct {
	cfg  CallerConfig
	wake async.Wake // a call was opened

	mu    sync.Mutex          // guards all below and the fields of each call that say so
	calls map[string]*Call[M] // by id
	last  uint64
}

// Call is a request or a command that waits for its answers.
type Call[M any] struct {
	Answers <-chan M   // as they arrive
	Sent    async.Wake // Redis has replied to a PUBLISH of the call

	caller  *Caller[M]
	id      string
	payload []byte

	// The caller's mutex guards these.
	answers   chan<- M
	room      int           // answers that may still come
	order     uint64        // in which it was opened
	due       time.Time     // when to publish it (again)
	wait      time.Duration // until then, when it is published
	receivers int64         // of the last PUBLISH; -1: not yet published
	refused   error         // Redis's reply to the last PUBLISH, if it was an error
}

// NewCaller makes a caller without calls.
func NewCaller[M any](cfg CallerConfig) *Caller[M] {
	return &Caller[M]{cfg: cfg, wake: async.NewWake(), calls: map[string]*Call[M]{}}
}

// Open begins a call that takes so many answers: with the last one it ends.
func (c *Caller[M]) Open(id string, payload []byte, answers int) (*Call[M], error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, taken := c.calls[id]; taken {
		return nil, fmt.Errorf("%s id %q is already waiting for its answer", c.cfg.What, id)
	}
	c.last++
	queue := make(chan M, answers)
	call := &Call[M]{
		Answers: queue, Sent: async.NewWake(), caller: c, id: id, payload: payload,
		answers: queue, room: answers, order: c.last, receivers: -1,
	}
	c.calls[id] = call
	c.wake.Call()
	return call, nil
}

// Deliver hands an answer to the call of this id, and reports whether there is one.
func (c *Caller[M]) Deliver(id string, m M) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	call, ok := c.calls[id]
	if !ok {
		return false
	}
	call.answers <- m
	if call.room--; call.room == 0 {
		delete(c.calls, id) // a further copy finds nobody
	}
	return true
}

// Close ends the call.
func (c *Call[M]) Close() {
	c.caller.mu.Lock()
	defer c.caller.mu.Unlock()
	if c.caller.calls[c.id] == c {
		delete(c.caller.calls, c.id)
	}
}

// Receivers is how many subscribers the last PUBLISH reached; -1 before the first.
func (c *Call[M]) Receivers() int64 {
	c.caller.mu.Lock()
	defer c.caller.mu.Unlock()
	return c.receivers
}

// Unanswered says how far a call has come that expired without an answer.
func (c *Call[M]) Unanswered() error {
	c.caller.mu.Lock()
	defer c.caller.mu.Unlock()
	cfg := &c.caller.cfg
	switch {
	case c.refused != nil:
		return fmt.Errorf("%w: the %s was refused: %w; %s", ErrNoAnswer, cfg.What, c.refused, redisconn.CauseOf(c.refused).Advice())
	case c.receivers < 0:
		return fmt.Errorf("%w: the %s could not be sent, there was no link to Redis", ErrNoAnswer, cfg.What)
	case c.receivers == 0:
		return fmt.Errorf("%w: %s", ErrNoAnswer, cfg.Unheard)
	default:
		return fmt.Errorf("%w: %s", ErrNoAnswer, cfg.Silent)
	}
}

// Worker publishes the calls, and repeats them.
func (c *Caller[M]) Worker() datatransfer.Worker {
	return datatransfer.Worker{Name: "publish " + c.cfg.What + "s", Run: c.run}
}

func (c *Caller[M]) run(ctx context.Context, s *datatransfer.Session) error {
	c.restart()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		due, next := c.due(time.Now())
		if len(due) > 0 {
			if err := c.publish(ctx, s, due); err != nil {
				return err
			}
			continue
		}
		timer.Reset(next)
		select {
		case <-c.wake:
		case <-timer.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// restart makes all calls due: what an earlier session sent may never have arrived.
func (c *Caller[M]) restart() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, call := range c.calls {
		call.due, call.wait = time.Time{}, 0
	}
}

// due lists what is to be published now, and returns the time until the next one is.
func (c *Caller[M]) due(now time.Time) (due []*Call[M], next time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	next = time.Hour
	for _, call := range c.calls {
		if wait := call.due.Sub(now); wait > 0 {
			next = min(next, wait)
		} else {
			due = append(due, call)
		}
	}
	slices.SortFunc(due, func(a, b *Call[M]) int { return cmp.Compare(a.order, b.order) })
	return due, next
}

// publish sends calls in one round trip. One that Redis refuses is repeated like
// one that is not answered, and is no fault of the link.
func (c *Caller[M]) publish(ctx context.Context, s *datatransfer.Session, due []*Call[M]) error {
	replies := make([]*redis.IntCmd, len(due))
	_, _ = s.Data().Pipelined(ctx, func(p redis.Pipeliner) error { // each reply has its own error
		for i, call := range due {
			replies[i] = p.Publish(ctx, c.cfg.Channel, call.payload)
		}
		return nil
	})
	for i, call := range due {
		receivers, err := replies[i].Result()
		if redisconn.EndsSession(err) {
			return fmt.Errorf("publish %s: %w", c.cfg.What, err)
		}
		c.published(call, receivers, err)
	}
	return nil
}

func (c *Caller[M]) published(call *Call[M], receivers int64, refused error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if call.refused = refused; refused == nil {
		call.receivers = receivers
	}
	call.wait = min(max(2*call.wait, c.cfg.RepeatAfter), c.cfg.RepeatMost)
	call.due = time.Now().Add(call.wait)
	call.Sent.Call()
}
