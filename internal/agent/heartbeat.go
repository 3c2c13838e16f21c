package agent

import (
	"context"
	"strconv"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/sdnotify"
	"framekeeper/internal/status"
	"framekeeper/internal/supervise"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/datatransfer"
)

const (
	// beatsPerTimeout is how many heartbeats fit into the manager's watchdog
	// timeout: one or two may be lost.
	beatsPerTimeout = 4
	// defaultBeat is how often a manager without a watchdog gets the state.
	defaultBeat = 5 * time.Second
	// beatCheck is how often the state is compared, to send a change such as the
	// first frame.
	beatCheck = 100 * time.Millisecond
	// hungAllowed is how late the camera's watchdog may be on a busy box.
	hungAllowed = time.Second
)

// heartbeat notifies the manager of this process, the controller or systemd, that
// it works: new frames arrive or the camera is knowingly opened or waited for, and
// the loop that turns frames into answers moves. A process in which either hangs
// goes on running and sends nothing. run is for one goroutine.
type heartbeat struct {
	manager  manager
	camera   liveCamera
	link     func() datatransfer.State
	loop     loop
	log      zerolog.Logger
	interval time.Duration

	turns  uint64 // of the loop, at the last heartbeat
	ready  bool
	status string    // the last one sent
	beatAt time.Time // zero before the first, which is due as soon as all moves
}

// manager receives the notifications; *sdnotify.Sender is one.
type manager interface {
	Watchdog() time.Duration // its timeout; 0: none
	Send(messages ...string) error
}

// liveCamera is a camera with a watchdog of its own.
type liveCamera interface {
	Health() camera.Health
	Hung() time.Duration // how late the camera's watchdog is; 0: in time
}

// loop is a goroutine whose progress can be seen.
type loop interface {
	Turns() (n uint64, ended bool)
	Wake() // one more turn, even if nothing happens
}

func newHeartbeat(m manager, c liveCamera, link func() datatransfer.State, l loop, log zerolog.Logger) *heartbeat {
	h := &heartbeat{manager: m, camera: c, link: link, loop: l, log: log, interval: defaultBeat}
	if limit := m.Watchdog(); limit > 0 {
		h.interval = min(limit/beatsPerTimeout, supervise.BeatInterval)
	}
	return h
}

// run sends heartbeats until ctx ends.
func (h *heartbeat) run(ctx context.Context) error {
	tick := time.NewTicker(min(beatCheck, h.interval))
	defer tick.Stop()
	for {
		h.beat(time.Now())
		select {
		case <-tick.C:
		case <-ctx.Done():
			h.send(append(h.state(), sdnotify.Stopping)...)
			return nil
		}
	}
}

// beat sends a changed state at once, and at each interval that the process is
// alive, if it is.
func (h *heartbeat) beat(now time.Time) {
	before := h.status
	messages := h.state()
	beat := now.Sub(h.beatAt) >= h.interval && h.alive()
	if beat {
		messages = append(messages, sdnotify.Watchdog)
		h.beatAt = now
	}
	if beat || h.status != before {
		h.send(messages...)
	}
}

// state is the state of camera and link, for machines and for people.
func (h *heartbeat) state() []string {
	health := h.camera.Health()
	// A camera that could not be opened at all was never ready: who waits for the start must see that.
	h.ready = h.ready || health.State != camera.StateOpening && (health.State != camera.StateEnded || health.Frames > 0)
	h.status = status.AgentLine(health, h.link())
	messages := []string{supervise.FramesVariable + "=" + strconv.FormatUint(health.Frames, 10), sdnotify.Status(h.status)}
	if h.ready {
		messages = append(messages, sdnotify.Ready)
	}
	return messages
}

// alive reports whether the goroutines on the way of a frame move.
func (h *heartbeat) alive() bool {
	turns, ended := h.loop.Turns() // ended: it has served its last frame, and the rest is being sent
	moved := ended || turns != h.turns
	h.turns = turns
	h.loop.Wake()
	return moved && h.camera.Hung() < hungAllowed
}

func (h *heartbeat) send(messages ...string) {
	if err := h.manager.Send(messages...); err != nil {
		h.log.Debug().Err(err).Msg("The heartbeat was not sent")
	}
}
