package main

import (
	"context"
	"os"
	"time"

	"framekeeper/internal/sdnotify"
)

// notify tells systemd, if that has started the controller (Type=notify), that
// it is up, and with WatchdogSec that what it runs can still be asked: a
// supervisor or a link that hangs holds up the answer, and with it the sign.
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
	tell(sdnotify.Ready)
	defer tell(sdnotify.Stopping)
	interval := sender.Watchdog() / 4
	if interval == 0 {
		<-ctx.Done()
		return nil
	}
	beat := time.NewTicker(interval)
	defer beat.Stop()
	for {
		tell(sdnotify.Watchdog, sdnotify.Status("link "+b.report().Link.State))
		select {
		case <-beat.C:
		case <-ctx.Done():
			return nil
		}
	}
}
