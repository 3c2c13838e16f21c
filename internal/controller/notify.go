package controller

import (
	"context"
	"os"
	"time"

	"framekeeper/internal/sdnotify"
)

const (
	// beatsPerTimeout is how many signs of life fit into the time after which
	// their absence means death: one or two may be lost.
	beatsPerTimeout = 4
	// beatUnasked is how often the state is told to a manager without watchdog.
	beatUnasked = 5 * time.Second
	// beatLook is how often a change of the state is looked for.
	beatLook = time.Second
)

// notify tells systemd, if that has started the controller (Type=notify), that
// it is up, and with WatchdogSec that what it runs can still be asked: a part
// that hangs holds up the answer, and with it the sign. Up means that agents are
// being run; what cameras and Redis do is for the agents and the link to mend,
// and no reason to start the controller again.
func (b *box) notify(ctx context.Context) error {
	sender := sdnotify.FromEnv(os.Getenv)
	if sender == nil {
		return nil
	}
	tell := func(messages ...string) {
		if err := sender.Send(messages...); err != nil {
			b.logger().Debug().Err(err).Msg("systemd was not told")
		}
	}
	defer tell(sdnotify.Stopping)
	interval := beatUnasked
	if limit := sender.Watchdog(); limit > 0 {
		interval = limit / beatsPerTimeout
	}
	look := time.NewTicker(min(beatLook, interval))
	defer look.Stop()
	var told string
	var toldAt time.Time
	for {
		if text, now := b.text(), time.Now(); text != told || now.Sub(toldAt) >= interval {
			tell(sdnotify.Status(text), sdnotify.Ready, sdnotify.Watchdog)
			told, toldAt = text, now
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// text is the state in a line. Every part is asked for it.
func (b *box) text() string {
	r := b.report()
	return r.Line(time.Now())
}
