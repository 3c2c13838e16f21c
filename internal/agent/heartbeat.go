package agent

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"framekeeper/internal/sdnotify"
	"framekeeper/internal/supervise"
	"framekeeper/pkg/camera"
)

const (
	// beatsPerTimeout is how many signs of life fit into the time after which
	// their absence means death: one or two may be lost.
	beatsPerTimeout = 4
	// beatUnasked is how often the state is told to a manager without watchdog.
	beatUnasked = 5 * time.Second
	// beatLook is how often something to tell is looked for, such as the first
	// frame.
	beatLook = 100 * time.Millisecond
	// overdueAllowed is how late the camera's watchdog may be on a busy box.
	overdueAllowed = time.Second
)

// heartbeat tells whoever started this process, the controller or systemd, that
// it works: that new frames arrive or the camera is knowingly opened or waited
// for, and that what turns frames into answers moves. A process in which either
// hangs goes on running and says nothing. run is for one goroutine.
type heartbeat struct {
	a        *agent
	sender   *sdnotify.Sender
	interval time.Duration

	turns  uint64 // of the responder, at the last beat
	ready  bool
	told   string    // the last status
	beatAt time.Time // zero before the first, which is due as soon as all moves
}

func newHeartbeat(a *agent, sender *sdnotify.Sender) *heartbeat {
	h := &heartbeat{a: a, sender: sender, interval: beatUnasked}
	if limit := sender.Watchdog(); limit > 0 {
		h.interval = min(limit/beatsPerTimeout, supervise.BeatInterval)
	}
	return h
}

// run beats until ctx ends. Without a manager there is nobody to tell.
func (h *heartbeat) run(ctx context.Context) error {
	if h.sender == nil {
		return nil
	}
	look := time.NewTicker(min(beatLook, h.interval))
	defer look.Stop()
	for {
		h.beat(time.Now())
		select {
		case <-look.C:
		case <-ctx.Done():
			h.tell(append(h.news(), sdnotify.Stopping)...)
			return nil
		}
	}
}

// beat says what is new, and at each interval that we are alive, if so.
func (h *heartbeat) beat(now time.Time) {
	before := h.told
	messages := h.news()
	beat := now.Sub(h.beatAt) >= h.interval && h.alive()
	if beat {
		messages = append(messages, sdnotify.Watchdog)
		h.beatAt = now
	}
	if beat || h.told != before {
		h.tell(messages...)
	}
}

// news is the state, for machines and for people.
func (h *heartbeat) news() []string {
	health := h.a.grabber.Health()
	// One that could not be opened at all was never ready: who waits for the start is to hear that.
	h.ready = h.ready || health.State != camera.StateOpening && (health.State != camera.StateEnded || health.Frames > 0)
	text := fmt.Sprintf("camera %s, link %s", health.State, h.a.link.Status().State)
	if health.Reason != "" {
		text += ": " + health.Reason
	}
	h.told = text
	messages := []string{supervise.FramesVariable + "=" + strconv.FormatUint(health.Frames, 10), sdnotify.Status(text)}
	if h.ready {
		messages = append(messages, sdnotify.Ready)
	}
	return messages
}

// alive looks whether the goroutines on the way of a frame move.
func (h *heartbeat) alive() bool {
	r := h.a.responder
	turns := r.turns.Load()
	moved := turns != h.turns
	h.turns = turns
	r.poke() // so that it moves until the next look even if nobody wants anything
	select {
	case <-r.done: // it has served its last frame, and the rest is being handed over
		moved = true
	default:
	}
	return moved && h.a.grabber.Hung() < overdueAllowed
}

func (h *heartbeat) tell(messages ...string) {
	if err := h.sender.Send(messages...); err != nil {
		h.a.log.Debug().Err(err).Msg("the supervisor was not told")
	}
}
