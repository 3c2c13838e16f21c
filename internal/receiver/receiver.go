// Package receiver requests frames of cameras, receives and stores them: what
// "client run" does. It promises that every frame of a stream that it has received
// is stored, or stays above the watermark (in the consumer group) for the next
// run, and that its summary accounts for what is missing and why. Only
// internal/client runs one.
package receiver

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/images"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/redisconn"
)

// AnswerWait bounds how long the last requests may still be answered at the end.
const AnswerWait = 2 * time.Second

const (
	storeWait     = time.Second            // for what they brought, or is in hand for a consumer group; both together stay below cli.EndTime
	endReadWait   = 500 * time.Millisecond // for the last read of the streams' ends
	saveInterval  = 500 * time.Millisecond // of the watermarks: so much is received again after a kill
	sweepInterval = time.Minute
	pollInterval  = 5 * time.Millisecond // of what nobody announces, during the end
	maxStorers    = 4                    // a disk gains nothing by more
)

// Config are the keys of the [client] table that a Receiver uses.
type Config struct {
	RequestInterval time.Duration `toml:"request_interval"`
	QueueSize       int           `toml:"queue_size"` // frames received and not yet stored
}

// Default is the table as it stands when the file leaves it out.
func Default() Config { return Config{RequestInterval: 100 * time.Millisecond, QueueSize: 1000} }

// Validate reports everything that is wrong with the table.
func (c *Config) Validate(report func(key, value, expected string)) {
	if c.RequestInterval < time.Millisecond || c.RequestInterval > time.Hour {
		report("request_interval", c.RequestInterval.String(), "1ms to 1h")
	}
	if c.QueueSize < 1 || c.QueueSize > 1000000 {
		report("queue_size", strconv.Itoa(c.QueueSize), "1 to 1000000")
	}
}

// Options are what a Receiver does and uses.
type Options struct {
	Config

	Redis      redisconn.Config
	Cameras    []*camera.Config
	NoRequests bool          // send no requests, only receive frames
	Streams    bool          // frames come through the streams, else by pub/sub alone
	Group      string        // the consumer group to share the streams with; "": none
	Store      *images.Store // nil: nothing is stored
	Log        zerolog.Logger
}

// Receiver receives the frames of several cameras over one link. It runs once.
type Receiver struct {
	log     zerolog.Logger
	store   *images.Store // nil: nothing is stored
	link    *datatransfer.Link
	cameras []*cameraReceiver
	queue   *queue
	began   time.Time
	ended   time.Time
	broken  error // why the link has ended before its time
}

// New prepares a Receiver; nothing happens before Run.
func New(o Options) *Receiver {
	r := &Receiver{log: o.Log, store: o.Store, began: time.Now(), queue: newQueue(o.QueueSize)}
	longest := camera.LargestMessage(o.Cameras...)
	link := datatransfer.LinkConfig{Redis: o.Redis, Name: "client", Log: o.Log, MaxMessage: longest, MaxReply: longest, Optional: optionalRights()}
	consumer := consumerName()
	for _, cam := range o.Cameras {
		c := newCameraReceiver(&o, cam, consumer, r.queue)
		r.cameras = append(r.cameras, c)
		if c.requester != nil || !c.reads() {
			link.Subscriptions = append(link.Subscriptions, datatransfer.Subscription{Channel: cam.StreamTopic, Handle: c.receive})
		}
		link.Workers = append(link.Workers, c.workers()...)
	}
	r.link = datatransfer.NewLink(link)
	return r
}

// Run works until ctx ends, or the link for good, then ends in order: the last
// requests are answered, the frames they brought are stored, the consumer group
// is left, the watermarks are saved.
//
//	request/<camera> ◄── rpc.Client ◄── requester, every request_interval
//	                         ▲ answers
//	stream/<camera> ──► receive ──(delivery pubsub)──► queue ──► storer ──► images_dir
//	frames:<camera> ──► Consumer ──(delivery stream, both)─────► storer ──► images_dir, watermark
//	       or GroupConsumer, with --group ─────────────────────► storer ──► images_dir, XACK
//
// The queue is bounded: what does not fit is dropped and counted, because
// nothing can slow pub/sub down. The consumers wait for the storer instead.
func (r *Receiver) Run(ctx context.Context, screen Screen) {
	ctx, end := context.WithCancel(ctx)
	defer end()
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var background, asking sync.WaitGroup
	background.Go(func() {
		if r.broken = r.link.Run(work); r.broken != nil {
			r.log.Error().Err(r.broken).Msg("The link to Redis has ended")
			end() // nothing arrives any more
		}
	})
	for range min(len(r.cameras), maxStorers) {
		background.Go(func() { r.queue.drain(work) })
	}
	background.Go(func() { r.housekeeping(work) })

	requests, abandon := context.WithCancel(work)
	defer abandon()
	for _, c := range r.cameras {
		if c.requester != nil {
			asking.Go(func() {
				if c.ready(ctx, r.link) {
					c.requester.run(ctx, requests)
				}
			})
		}
	}
	r.display(ctx, screen)

	timer := time.AfterFunc(AnswerWait, abandon)
	asking.Wait()
	timer.Stop()
	r.awaitStored(storeWait)
	r.leaveGroup(storeWait)
	r.readStreamEnds(endReadWait)
	cancel()
	background.Wait()
	r.queue.abandon()
	r.saveWatermarks()
	r.ended = time.Now()
}

// awaitStored waits until every answered frame has been stored.
func (r *Receiver) awaitStored(limit time.Duration) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	poll := time.NewTicker(pollInterval)
	defer poll.Stop()
	for {
		behind := !r.queue.empty()
		for _, c := range r.cameras {
			behind = behind || c.behind()
		}
		if !behind {
			return
		}
		select {
		case <-timer.C:
			return
		case <-poll.C:
		}
	}
}

// leaveGroup takes every camera's consumer out of its group, if there is one.
func (r *Receiver) leaveGroup(limit time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if r.link.Status().State != datatransfer.Live {
		return
	}
	var leaving sync.WaitGroup
	for _, c := range r.cameras {
		if c.group != nil {
			leaving.Go(func() { leave(ctx, c.group, c.log) })
		}
	}
	leaving.Wait()
}

// housekeeping saves the watermarks and deletes images that are too old.
func (r *Receiver) housekeeping(ctx context.Context) {
	if r.store == nil {
		return
	}
	save := time.NewTicker(saveInterval)
	defer save.Stop()
	sweep := time.NewTicker(sweepInterval)
	defer sweep.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-save.C:
			r.saveWatermarks()
		case <-sweep.C:
			r.store.Sweep()
		}
	}
}

func (r *Receiver) saveWatermarks() {
	for _, c := range r.cameras {
		if c.reader != nil {
			c.reader.saveWatermark()
		}
	}
}

// readStreamEnds reads the ends of all streams while there is still a session.
// What is received of them meanwhile is accounted for by the watermark.
func (r *Receiver) readStreamEnds(limit time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	s := r.link.Session()
	if s == nil {
		return
	}
	for _, c := range r.cameras {
		if c.reader != nil {
			c.reader.readEnd(ctx, s.Data())
		}
		if c.group != nil {
			c.readPending(ctx, s.Data())
		}
	}
}

// optionalRights are the commands that a Receiver does without where Redis does not
// permit them, and what it then does not do.
func optionalRights() map[string]string {
	return map[string]string{
		"xlen":               "counting in the summary what the stream has",
		"xpending":           "counting in the summary what waits in the consumer group",
		"xgroup|delconsumer": "leaving the consumer group at the end",
	}
}
