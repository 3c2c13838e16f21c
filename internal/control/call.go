package control

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/redisconn"
	"framekeeper/pkg/rpc"
)

const (
	repeatAfter = 500 * time.Millisecond
	repeatMost  = 4 * time.Second
	// gatherTime is how long the answers of others are waited for, when one has
	// come and more controllers have received the command.
	gatherTime = time.Second
	// maxReply is longer than any controller's answer.
	maxReply = 1 << 20
)

// Call is one command and the wait for its answers. Its Subscription and its
// Worker belong into one link.
type Call struct {
	box, id, instance string
	caller            *rpc.Caller[*Reply]
	call              *rpc.Call[*Reply]
}

// Answers are what came of one call: one answer, unless several controllers have
// the box's name.
type Answers struct {
	Replies   []*Reply   // at least one, each of another controller
	Silent    []Identity // those that the others name, and that have not answered
	Listeners int64      // subscribers the command has reached, whoever they are; -1: not known
}

// NewCall makes a call to a box with a new id. fields are the command's other keys.
func NewCall(box string, fields map[string]any) (*Call, error) {
	fields = maps.Clone(fields)
	c := &Call{box: box, id: frame.NewRequestID()}
	fields["id"] = c.id
	payload, err := json.Marshal(fields)
	if err != nil {
		return nil, fmt.Errorf("encode command: %w", err)
	}
	parsed, err := Parse(payload)
	if err != nil { // nobody need be asked for that
		return nil, err
	}
	silent := fmt.Sprintf("the controller of %s has received the command, and has not answered", box)
	if c.instance = parsed.Instance; c.instance != "" {
		silent = fmt.Sprintf("no controller of %s has the instance %q: client control status shows those that are there", box, c.instance)
	}
	c.caller = rpc.NewCaller[*Reply](rpc.CallerConfig{
		Channel: Channel(box), What: "command", RepeatAfter: repeatAfter, RepeatMost: repeatMost, Silent: silent,
		Unheard: "no controller listens on " + Channel(box) + ": is that the box's name, and does its controller run?",
	})
	c.call, err = c.caller.Open(c.id, payload, maxRivals)
	return c, err
}

// Do runs a link of its own, makes the call over it and waits for the answers;
// errors of their own are in them.
func (c *Call) Do(ctx context.Context, cfg redisconn.Config) (*Answers, error) {
	link := datatransfer.NewLink(datatransfer.LinkConfig{
		Redis: cfg, Name: "client", Log: zerolog.Nop(), // whatever goes wrong is reported once, by the error
		MaxMessage: maxReply, MaxReply: maxReply,
		Subscriptions: []datatransfer.Subscription{c.Subscription()}, Workers: []datatransfer.Worker{c.Worker()},
	})
	// The link outlives the deadline: else it would be down because of it, and
	// be blamed for it.
	linked, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() { _ = link.Run(linked) }) // only an Admit could make it fail
	if err := link.WaitLive(ctx); err != nil {
		return nil, fmt.Errorf("%w: %w", rpc.ErrNoAnswer, err)
	}
	a, err := c.Wait(ctx)
	if s := link.Status(); err != nil && s.State != datatransfer.Live {
		err = fmt.Errorf("%w; the link to Redis is %s: %s", err, s.State, s.Detail)
	}
	return a, err
}

// Subscription receives the answers.
func (c *Call) Subscription() datatransfer.Subscription {
	return datatransfer.Subscription{Channel: ReplyChannel(c.box), Handle: func(payload []byte, _ time.Time) {
		r, err := ParseReply(payload)
		if err == nil && (c.instance == "" || r.Instance == c.instance) {
			c.caller.Deliver(r.ID, r)
		}
	}}
}

// Worker publishes the command, and repeats it.
func (c *Call) Worker() datatransfer.Worker { return c.caller.Worker() }

// Wait waits for the first answer, and for a moment for those of other
// controllers, if others have received the command. Errors of their own are in the
// answers.
func (c *Call) Wait(ctx context.Context) (*Answers, error) {
	defer c.call.Close()
	a := &Answers{}
	var enough <-chan time.Time
	for ended := false; ; {
		for len(c.call.Answers) > 0 {
			a.add(<-c.call.Answers)
		}
		a.Listeners = c.call.Receivers()
		switch {
		case len(a.Replies) > 0 && (ended || a.complete(c.instance)):
			return a, nil
		case ended:
			return nil, c.call.Unanswered()
		case len(a.Replies) > 0 && enough == nil:
			timer := time.NewTimer(gatherTime)
			defer timer.Stop()
			enough = timer.C
		}
		select {
		case r := <-c.call.Answers:
			a.add(r)
		case <-c.call.Sent:
		case <-enough:
			ended = true
		case <-ctx.Done():
			ended = true
		}
	}
}

// add adds an answer, unless it is a copy: those of older versions have no instance, but a time.
func (a *Answers) add(r *Reply) {
	for _, have := range a.Replies {
		if have.Instance == r.Instance && (r.Instance != "" || have.TimeUS == r.TimeUS) {
			return
		}
	}
	a.Replies = append(a.Replies, r)
	a.Silent = nil
	seen := map[string]bool{}
	for _, r := range a.Replies {
		seen[r.Instance] = true
	}
	for _, r := range a.Replies {
		for _, o := range r.Rivals {
			if !seen[o.Instance] {
				seen[o.Instance] = true
				a.Silent = append(a.Silent, o)
			}
		}
	}
}

// Controllers is how many controllers have the box's name, as far as is known.
func (a *Answers) Controllers() int { return len(a.Replies) + len(a.Silent) }

// complete reports whether nobody else can be expected to answer.
func (a *Answers) complete(instance string) bool {
	return instance != "" || len(a.Silent) == 0 && a.Listeners >= 0 && int64(len(a.Replies)) >= a.Listeners
}
