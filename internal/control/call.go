package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/redisconn"
)

// The waits before a command is sent again, with the same id: they double.
const (
	repeatAfter = 500 * time.Millisecond
	repeatMost  = 4 * time.Second
)

// ErrNoAnswer says that no controller has answered. Its text tells whether
// anybody had heard the command.
var ErrNoAnswer = errors.New("no answer")

// Call is one command and the wait for its answer. Its Subscription and its
// Worker belong into one link.
type Call struct {
	box, id string
	payload []byte
	reply   chan *Reply // capacity 1

	mu      sync.Mutex // guards all below
	heard   int64      // receivers of the last PUBLISH; -1: not yet sent
	refused error      // Redis's answer to the last PUBLISH, if it was none
}

// NewCall makes a call to a box with a new id. fields are the command's other
// keys.
func NewCall(box string, fields map[string]any) (*Call, error) {
	c := &Call{box: box, id: datatransfer.NewID(), reply: make(chan *Reply, 1), heard: -1}
	fields = maps.Clone(fields)
	fields["id"] = c.id
	var err error
	if c.payload, err = json.Marshal(fields); err != nil {
		return nil, fmt.Errorf("encode command: %w", err)
	}
	if _, err := Parse(c.payload); err != nil { // nobody need be asked for that
		return nil, err
	}
	return c, nil
}

// Do runs a link of its own, makes the call over it and waits for the answer;
// its own error is in the Reply.
func (c *Call) Do(ctx context.Context, cfg redisconn.Config) (*Reply, error) {
	link := datatransfer.NewLink(datatransfer.LinkConfig{
		Redis: cfg, Name: "client", Log: zerolog.Nop(), // whatever goes wrong is told once, by the error
		Subscriptions: []datatransfer.Subscription{c.Subscription()}, Workers: []datatransfer.Worker{c.Worker()},
	})
	// The link outlives the deadline: else it would be down because of it, and
	// be blamed for it.
	linked, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() { _ = link.Run(linked) }) // it fails only by what an Admit says, and there is none
	if err := link.WaitLive(ctx); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoAnswer, err)
	}
	r, err := c.Wait(ctx)
	if s := link.Status(); err != nil && s.State != datatransfer.Live {
		err = fmt.Errorf("%w; the link to Redis is %s: %s", err, s.State, s.Detail)
	}
	return r, err
}

// Subscription hears the answer.
func (c *Call) Subscription() datatransfer.Subscription {
	return datatransfer.Subscription{Channel: ReplyChannel(c.box), Handle: func(payload []byte, _ time.Time) {
		r, err := ParseReply(payload)
		if err != nil || r.ID != c.id {
			return
		}
		select {
		case c.reply <- r:
		default: // a copy
		}
	}}
}

// Worker sends the command, and again as long as it is not answered.
func (c *Call) Worker() datatransfer.Worker {
	return datatransfer.Worker{Name: "send command", Run: func(ctx context.Context, s *datatransfer.Session) error {
		for wait := repeatAfter; ; wait = min(2*wait, repeatMost) {
			n, err := s.Data().Publish(ctx, Channel(c.box), c.payload).Result()
			if err != nil && redisconn.EndsSession(err) {
				return fmt.Errorf("send command: %w", err)
			}
			c.sent(n, err)
			timer := time.NewTimer(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
				return nil
			}
		}
	}}
}

func (c *Call) sent(n int64, refused error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refused = refused; refused == nil {
		c.heard = n
	}
}

// Wait waits for the answer; its own error is in the Reply.
func (c *Call) Wait(ctx context.Context) (*Reply, error) {
	select {
	case r := <-c.reply:
		return r, nil
	case <-ctx.Done():
	}
	select {
	case r := <-c.reply: // at the last moment
		return r, nil
	default:
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.refused != nil:
		return nil, fmt.Errorf("%w: the command was refused: %w; %s", ErrNoAnswer, c.refused, redisconn.CauseOf(c.refused).Advice())
	case c.heard < 0:
		return nil, fmt.Errorf("%w: the command could not be sent, there was no link to Redis", ErrNoAnswer)
	case c.heard == 0:
		return nil, fmt.Errorf("%w: no controller listens on %s: is that the box's name, and does its controller run?", ErrNoAnswer, Channel(c.box))
	default:
		return nil, fmt.Errorf("%w: the controller of %s has heard the command, and has not answered", ErrNoAnswer, c.box)
	}
}
