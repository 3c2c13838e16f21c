package control

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/redisconn"
)

// leaveTime is how long a last hello may take.
const leaveTime = 200 * time.Millisecond

// Worker says hello at the beginning of a session, every helloEvery, and to
// whoever has not heard it yet.
func (n *Namesakes) Worker() datatransfer.Worker {
	return datatransfer.Worker{Name: "say hello", Run: n.run}
}

func (n *Namesakes) run(ctx context.Context, s *datatransfer.Session) error {
	n.begin(s.Local(), time.Now())
	defer n.end()
	tick := time.NewTicker(helloEvery)
	defer tick.Stop()
	gap := time.NewTimer(0)
	defer gap.Stop()
	for {
		select {
		case <-gap.C:
		case <-ctx.Done():
			return nil
		}
		if err := n.greet(ctx, s); err != nil {
			return err
		}
		gap.Reset(helloGap)
		select {
		case <-tick.C:
		case <-n.kick:
		case <-ctx.Done():
			return nil
		}
	}
}

// begin starts anew with those that are known: during an outage nobody could
// be heard.
func (n *Namesakes) begin(address string, now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.self.Address = plain(address)
	for _, o := range n.others {
		o.last = now
	}
	n.left = false
}

// end: who comes now is not heard.
func (n *Namesakes) end() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.settles = time.Time{}
	n.change()
}

func (n *Namesakes) greet(ctx context.Context, s *datatransfer.Session) error {
	n.mu.Lock()
	n.forget(time.Now())
	h := hello{Identity: n.self, Hears: slices.Sorted(maps.Keys(n.others))}
	left := n.left
	n.mu.Unlock()
	if left {
		return nil
	}
	text, err := h.encode()
	if err != nil {
		return err
	}
	heard, err := s.Data().Publish(ctx, Channel(n.box), text).Result()
	if err != nil && redisconn.EndsSession(err) {
		return fmt.Errorf("say hello: %w", err)
	}
	n.said(heard, err, time.Now())
	return nil
}

// said is called when a hello is out, to so many listeners. If they are only
// ourselves there is nobody whose answer could be waited for.
func (n *Namesakes) said(heard int64, refusal error, now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if refusal != nil && !n.mute {
		n.log().Warn().Err(refusal).Str("channel", Channel(n.box)).Str("advice", redisconn.CauseOf(refusal).Advice()).
			Msg("Redis refuses hellos: whether another controller has this box's name is not noticed")
	}
	n.mute = refusal != nil
	if !n.settles.IsZero() {
		return
	}
	if n.settles = now; heard > 1 || len(n.others) > 0 {
		n.settles = now.Add(settleTime)
	}
	n.change()
}

// Leave tells the others that this controller leaves the name, if there is a
// session (it may be nil).
func (n *Namesakes) Leave(s *datatransfer.Session) {
	n.mu.Lock()
	n.left = true
	h := hello{Identity: n.self, Ends: true, Hears: []string{}}
	n.mu.Unlock()
	if s == nil {
		return
	}
	text, err := h.encode()
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), leaveTime)
	defer cancel()
	_ = s.Data().Publish(ctx, Channel(n.box), text).Err() // else they notice it when nothing more comes
}
