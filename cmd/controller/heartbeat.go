package main

import (
	"context"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/sdnotify"
	"framekeeper/internal/supervise"
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

// heartbeat tells systemd, if that started us, how the box is. Ready means that
// the supervisor runs; what cameras and Redis do is for the agents and the link
// to mend, and no reason to start the controller again.
type heartbeat struct {
	b      *box
	sender *sdnotify.Sender
	log    zerolog.Logger
}

// run beats until ctx ends. Without a manager there is nobody to tell.
func (h heartbeat) run(ctx context.Context) error {
	if h.sender == nil {
		return nil
	}
	interval := beatUnasked
	if limit := h.sender.Watchdog(); limit > 0 {
		interval = limit / beatsPerTimeout
	}
	look := time.NewTicker(min(beatLook, interval))
	defer look.Stop()
	var told string
	var toldAt time.Time
	for {
		// The text is asked of every part and takes each one's lock: when one of
		// them hangs, no beat follows.
		if text, now := h.text(), time.Now(); text != told || now.Sub(toldAt) >= interval {
			h.tell(sdnotify.Status(text), sdnotify.Ready, sdnotify.Watchdog)
			told, toldAt = text, now
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			h.tell(sdnotify.Stopping)
			return nil
		}
	}
}

func (h heartbeat) text() string {
	r := h.b.report()
	running := 0
	for _, a := range r.Agents {
		if a.State == supervise.Running {
			running++
		}
	}
	return fmt.Sprintf("%d of %d agents running, link %s", running, len(r.Agents), r.Link.State)
}

func (h heartbeat) tell(messages ...string) {
	if err := h.sender.Send(messages...); err != nil {
		h.log.Debug().Err(err).Msg("the service manager was not told")
	}
}
