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
	"framekeeper/pkg/frame"
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

// gatherTime is how long the answers of others are waited for, when one has
// come and more controllers have heard the command.
const gatherTime = time.Second

// Call is one command and the wait for its answers. Its Subscription and its
// Worker belong into one link.
type Call struct {
	box, id, instance string
	payload           []byte
	news              chan struct{} // capacity 1: something below has changed

	mu      sync.Mutex // guards all below
	replies []*Reply
	heard   int64 // receivers of the last PUBLISH; -1: not yet sent
	refused error // Redis's answer to the last PUBLISH, if it was none
}

// NewCall makes a call to a box with a new id. fields are the command's other
// keys.
func NewCall(box string, fields map[string]any) (*Call, error) {
	c := &Call{box: box, id: frame.NewRequestID(), news: make(chan struct{}, 1), heard: -1}
	fields = maps.Clone(fields)
	fields["id"] = c.id
	var err error
	if c.payload, err = json.Marshal(fields); err != nil {
		return nil, fmt.Errorf("encode command: %w", err)
	}
	parsed, err := Parse(c.payload)
	if err != nil { // nobody need be asked for that
		return nil, err
	}
	c.instance = parsed.Instance
	return c, nil
}

// Do runs a link of its own, makes the call over it and waits for the answers;
// errors of their own are in them.
func (c *Call) Do(ctx context.Context, cfg redisconn.Config) (*Answers, error) {
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
	a, err := c.Wait(ctx)
	if s := link.Status(); err != nil && s.State != datatransfer.Live {
		err = fmt.Errorf("%w; the link to Redis is %s: %s", err, s.State, s.Detail)
	}
	return a, err
}

// Subscription hears the answers.
func (c *Call) Subscription() datatransfer.Subscription {
	return datatransfer.Subscription{Channel: ReplyChannel(c.box), Handle: func(payload []byte, _ time.Time) {
		r, err := ParseReply(payload)
		if err == nil && r.ID == c.id && (c.instance == "" || r.Instance == c.instance) {
			c.take(r)
		}
	}}
}

// take keeps an answer, unless it is a copy: of older versions the time tells.
func (c *Call) take(r *Reply) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, have := range c.replies {
		if have.Instance == r.Instance && (r.Instance != "" || have.TimeUS == r.TimeUS) {
			return
		}
	}
	if len(c.replies) < maxNamesakes {
		c.replies = append(c.replies, r)
		c.changed()
	}
}

func (c *Call) changed() {
	select {
	case c.news <- struct{}{}:
	default:
	}
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
	c.changed()
}

// Wait waits for the first answer, and for a moment for those of other
// controllers, if others have heard the command. Errors of their own are in the
// answers.
func (c *Call) Wait(ctx context.Context) (*Answers, error) {
	var enough <-chan time.Time
	for {
		a := c.answers()
		if a.complete(c.instance) {
			return a, nil
		}
		if enough == nil && len(a.Replies) > 0 {
			timer := time.NewTimer(gatherTime)
			defer timer.Stop()
			enough = timer.C
		}
		select {
		case <-c.news:
		case <-enough:
			return c.answers(), nil
		case <-ctx.Done():
			if a = c.answers(); len(a.Replies) > 0 {
				return a, nil
			}
			return nil, c.why()
		}
	}
}

// why says how far a call has come that nobody has answered.
func (c *Call) why() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.refused != nil:
		return fmt.Errorf("%w: the command was refused: %w; %s", ErrNoAnswer, c.refused, redisconn.CauseOf(c.refused).Advice())
	case c.heard < 0:
		return fmt.Errorf("%w: the command could not be sent, there was no link to Redis", ErrNoAnswer)
	case c.heard == 0:
		return fmt.Errorf("%w: no controller listens on %s: is that the box's name, and does its controller run?", ErrNoAnswer, Channel(c.box))
	case c.instance != "":
		return fmt.Errorf("%w: no controller of %s says that it is %q: client control status shows those that are there", ErrNoAnswer, c.box, c.instance)
	default:
		return fmt.Errorf("%w: the controller of %s has heard the command, and has not answered", ErrNoAnswer, c.box)
	}
}
