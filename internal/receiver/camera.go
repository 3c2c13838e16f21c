package receiver

import (
	"context"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/text"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/stream"
)

// answerSlack is how much longer than the agent's request_timeout an answer
// may take, so that a request made just before Redis goes away is still
// answered when it returns.
const answerSlack = 5 * time.Second

// cameraReceiver receives the frames of one camera.
type cameraReceiver struct {
	name      string
	log       zerolog.Logger
	counts    *counts
	storer    *storer
	queue     *queue                // for delivery by pub/sub alone
	requester *requester            // nil: no requests are made
	reader    *streamReader         // reads the stream alone
	group     *stream.GroupConsumer // reads the stream with others; without both delivery is by pub/sub alone
	pending   *uint64               // what the group's consumer had in hand at the end; nil: unknown
}

func newCameraReceiver(o *Options, cam *camera.Config, consumer string, q *queue) *cameraReceiver {
	log := o.Log.With().Str("camera", cam.Name).Logger()
	c := &cameraReceiver{name: cam.Name, log: log, counts: &counts{}, queue: q}
	c.storer = &storer{camera: cam.Name, store: o.Store, counts: c.counts, log: log}
	if !o.NoRequests {
		c.requester = newRequester(cam, o.RequestInterval, c.counts, log)
	}
	switch {
	case o.Group != "":
		c.group = newGroup(cam, o.Group, consumer, c.consume, c.storer, log)
	case o.Streams:
		c.reader = newStreamReader(cam, o.Store, c.consume, log)
	}
	return c
}

// reads reports whether frames come through the stream.
func (c *cameraReceiver) reads() bool { return c.reader != nil || c.group != nil }

func (c *cameraReceiver) workers() []datatransfer.Worker {
	var w []datatransfer.Worker
	if c.requester != nil {
		w = append(w, c.requester.client.Worker())
	}
	if c.reader != nil {
		w = append(w, datatransfer.Worker{Name: "read frames", Run: c.reader.run})
	}
	if c.group != nil {
		w = append(w, c.group.Worker())
	}
	return w
}

// ready waits until requests make sense: the link is LIVE, and what they bring
// will be read.
func (c *cameraReceiver) ready(ctx context.Context, link *datatransfer.Link) bool {
	if link.WaitLive(ctx) != nil { // ctx has ended; the link itself reports its outage
		return false
	}
	if c.reader == nil {
		return true
	}
	select {
	case <-c.reader.begun:
		return true
	case <-ctx.Done():
		return false
	}
}

// behind reports whether a frame that was answered has not come through the stream
// yet.
func (c *cameraReceiver) behind() bool {
	if c.reader == nil || c.requester == nil {
		return false
	}
	id := c.requester.newest.Load()
	return id != nil && c.reader.stats().Watermark.Less(*id)
}

// receive takes what is published on the camera's stream topic. It is called
// from the goroutine that receives, so it never waits.
func (c *cameraReceiver) receive(payload []byte, _ time.Time) {
	m, err := frame.ParseMessage(payload)
	if m == nil || m.Header.Camera != c.name {
		c.counts.add(malformed, 1)
		return
	}
	c.counts.seen.Store(true)
	if c.requester != nil && err == nil {
		c.requester.client.Deliver(m)
	}
	if c.reads() || m.Header.Status != frame.StatusOK {
		return
	}
	c.counts.add(frames, 1)
	if c.storer.store != nil && !c.queue.push(c.storer, m) { // damaged ones too: the store sets them aside
		c.counts.add(dropped, 1)
	}
}

// consume takes the entries of the camera's stream: in order, each once, or
// this consumer's share of them.
func (c *cameraReceiver) consume(ctx context.Context, m *frame.Message) error {
	switch m.Header.Status {
	case frame.StatusOK:
		if err := c.storer.save(ctx, m); err != nil {
			return err // the session ends, and the next one brings this frame again
		}
		c.counts.add(frames, 1)
	case frame.StatusDropped:
		c.log.Warn().Stringer("first", m.Header.First).Stringer("last", m.Header.Last).Uint64("count", m.Header.Count).
			Str("reason", text.Printable(m.Header.Reason, 0)).Msg("The agent lost frames")
	case frame.StatusStarted:
		c.log.Info().Stringer("id", m.Header.ID).Msg("The agent has started")
	}
	return nil
}

// faults are what went wrong with the camera. What came late or twice is dealt with
// and counted, and no fault of the run.
func (c *cameraReceiver) faults() []string {
	t := c.totals()
	var all []string
	if t.n[requests] > 0 && t.n[answered] == 0 && t.n[frames] == 0 {
		all = append(all, fmt.Sprintf("nothing arrived for %d requests (%d error replies, %d without an answer)",
			t.n[requests], t.n[errorReplies], t.unanswered()))
	}
	if lost := t.lost(); lost > 0 && (len(all) == 0 || lost > t.missed()) {
		all = append(all, fmt.Sprintf("%d lost (%s)", lost, t.losses()))
	}
	for _, r := range []*refusal{&c.storer.unstored, &c.storer.unsynced} {
		if at := r.now.Load(); at != nil {
			all = append(all, fmt.Sprintf("images could not be stored at the end: %s", at.err))
		}
	}
	return all
}
