package controller

import (
	"context"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/sdnotify"
)

const (
	// beatsPerTimeout is how many watchdog messages fit into the time after which
	// their absence means death: one or two may be lost.
	beatsPerTimeout = 4
	// beatInterval is how often the state is sent to a manager without watchdog.
	beatInterval = 5 * time.Second
	// changeInterval is how often the state is compared with the one sent last.
	changeInterval = time.Second
)

// notify reports to systemd, if that has started the controller (Type=notify),
// that it is up, and with WatchdogSec that its parts still answer: one that hangs
// holds up state, and with it the message. Up means that agents are being run;
// what cameras and Redis do is for the agents and the link to mend, and no reason
// to start the controller again.
func notify(ctx context.Context, sender *sdnotify.Sender, state func() string, log func() *zerolog.Logger) error {
	if sender == nil {
		return nil
	}
	send := func(messages ...string) {
		if err := sender.Send(messages...); err != nil {
			log().Debug().Err(err).Msg("Cannot notify systemd")
		}
	}
	defer send(sdnotify.Stopping)
	interval := beatInterval
	if limit := sender.Watchdog(); limit > 0 {
		interval = limit / beatsPerTimeout
	}
	tick := time.NewTicker(min(changeInterval, interval))
	defer tick.Stop()
	var sent string
	var sentAt time.Time
	for {
		if text, now := state(), time.Now(); text != sent || now.Sub(sentAt) >= interval {
			send(sdnotify.Status(text), sdnotify.Ready, sdnotify.Watchdog)
			sent, sentAt = text, now
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}
