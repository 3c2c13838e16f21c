package control

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/redisconn"
)

const (
	announceEvery = 2 * time.Second
	announceGap   = 200 * time.Millisecond // the least time between two announcements
	leaveTime     = 200 * time.Millisecond // how long the last one may take

	announcementBegins = `{"command":"hello",`
	maxAnnouncement    = 8 << 10 // bytes; maxRivals fit well
)

// announcement is what controllers publish on a box's control channel, so that
// two of one name notice each other. It is answered by another one at most, and
// needs no right on Redis that commands do not need.
type announcement struct {
	Command string `json:"command"` // always "hello", and always first
	Identity
	Hears []string `json:"hears"`          // the instances of the others whose announcements arrive
	Ends  bool     `json:"ends,omitempty"` // it leaves the name
}

// isAnnouncement distinguishes an announcement from commands by its beginning: only
// controllers write them, and always alike.
func isAnnouncement(payload []byte) bool {
	return bytes.HasPrefix(payload, []byte(announcementBegins))
}

func parseAnnouncement(payload []byte) (a announcement, ok bool) {
	if len(payload) > maxAnnouncement || frame.Decode(payload, &a) != nil || a.Instance == "" || len(a.Hears) > maxRivals {
		return announcement{}, false
	}
	a.Instance, a.Host, a.Address = plain(a.Instance), plain(a.Host), plain(a.Address)
	return a, true
}

// Worker publishes an announcement at the beginning of a session, every
// announceEvery, and whenever another controller has not received ours yet.
func (r *Rivals) Worker() datatransfer.Worker {
	return datatransfer.Worker{Name: "announce", Run: r.run}
}

func (r *Rivals) run(ctx context.Context, s *datatransfer.Session) error {
	r.connected(s.Local(), time.Now())
	defer r.disconnected()
	tick := time.NewTicker(announceEvery)
	defer tick.Stop()
	for {
		if err := r.announce(ctx, s); err != nil {
			return err
		}
		select {
		case <-time.After(announceGap):
		case <-ctx.Done():
			return nil
		}
		select {
		case <-tick.C:
		case <-r.wake:
		case <-ctx.Done():
			return nil
		}
	}
}

func (r *Rivals) announce(ctx context.Context, s *datatransfer.Session) error {
	r.mu.Lock()
	r.expire(time.Now())
	leaving := r.leaving
	r.mu.Unlock()
	if leaving {
		return nil
	}
	receivers, err := r.publish(ctx, s)
	if redisconn.EndsSession(err) {
		return fmt.Errorf("announce: %w", err)
	}
	r.announced(receivers, err, time.Now())
	return nil
}

func (r *Rivals) publish(ctx context.Context, s *datatransfer.Session) (receivers int64, err error) {
	r.mu.Lock()
	a := announcement{Command: "hello", Identity: r.self, Hears: slices.Sorted(maps.Keys(r.rivals)), Ends: r.leaving}
	r.mu.Unlock()
	text, err := json.Marshal(a)
	if err != nil {
		return 0, err
	}
	return s.Data().Publish(ctx, Channel(r.box), text).Result()
}

// Leave lets the others know that this controller leaves the name, if there is a
// session (it may be nil).
func (r *Rivals) Leave(s *datatransfer.Session) {
	r.mu.Lock()
	r.leaving = true
	r.mu.Unlock()
	if s == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), leaveTime)
	defer cancel()
	_, _ = r.publish(ctx, s) // else they notice it when nothing more comes
}
