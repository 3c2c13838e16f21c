package client

import (
	"context"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/configfile"
	"framekeeper/internal/images"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/datatransfer"
)

const (
	// graceAnswers and graceFrames bound the end: how long the last requests
	// may still be answered, and how long the frames they brought, or those in
	// hand for a pool, may take to be stored. Together they stay below endWithin.
	graceAnswers = 2 * time.Second
	graceFrames  = time.Second

	// lookAtEnd bounds the last look at the streams.
	// saveWatermarkEvery is how much is received again, and recognised as
	// stored, after a kill.
	lookAtEnd = 500 * time.Millisecond

	saveWatermarkEvery = 500 * time.Millisecond

	sweepEvery = time.Minute
	lookEvery  = 5 * time.Millisecond // at what nobody announces, during the end
)

// runner is one "client run": a feed for each camera on one link.
//
//	request/<camera> ◄── Requester ◄── ask, every request_interval
//	                        ▲ answers
//	stream/<camera> ──► receive ──(delivery pubsub)──► queue ──► keep ──► images_dir
//	frames:<camera> ──► Consumer ──(delivery stream, both)─────► keep ──► images_dir, watermark
//	       or GroupConsumer, with --group ─────────────────────► keep ──► images_dir, XACK
//
// The queue is bounded: what does not fit is dropped and counted, because
// nothing can slow pub/sub down. The consumers wait for keep instead.
type runner struct {
	log     zerolog.Logger
	store   *images.Store // nil: nothing is stored
	link    *datatransfer.Link
	feeds   []*feed
	queue   *queue
	began   time.Time
	ended   time.Time
	storers int
	broken  error // why the link has ended before its time
}

func newRunner(cfg *configfile.Config, cams []*camera.Config, f runFlags, store *images.Store, log zerolog.Logger) *runner {
	r := &runner{
		log: log, store: store, began: time.Now(),
		queue:   newQueue(cfg.Client.QueueSize),
		storers: min(len(cams), 4), // a disk gains nothing by more
	}
	worker := workerName()
	lc := datatransfer.LinkConfig{Redis: cfg.Redis, Name: "client", Log: log}
	for _, cam := range cams {
		feed := newFeed(cfg, cam, f, worker, store, r.queue, log)
		r.feeds = append(r.feeds, feed)
		if feed.requester != nil || !feed.reads() {
			lc.Subscriptions = append(lc.Subscriptions, datatransfer.Subscription{Channel: cam.StreamTopic, Handle: feed.receive})
		}
		lc.Workers = append(lc.Workers, feed.workers()...)
	}
	r.link = datatransfer.NewLink(lc)
	return r
}

// run works until ctx ends, or the link for good, then ends in order.
func (r *runner) run(ctx context.Context, screen *screen) {
	ctx, end := context.WithCancel(ctx)
	defer end()
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var background, asking sync.WaitGroup
	background.Go(func() {
		if r.broken = r.link.Run(work); r.broken != nil {
			r.log.Error().Err(r.broken).Msg("The link to Redis has ended")
			end() // a client that hears nothing any more must not look as if it did
		}
	})
	for range r.storers {
		background.Go(func() { r.queue.drain(work) })
	}
	background.Go(func() { r.housekeeping(work) })

	requests, abandon := context.WithCancel(work)
	defer abandon()
	for _, f := range r.feeds {
		if f.requester != nil {
			asking.Go(func() { f.ask(ctx, requests, r.link) })
		}
	}
	r.display(ctx, screen)

	waitAtMost(graceAnswers, &asking)
	abandon()
	asking.Wait()
	r.catchUp(graceFrames)
	r.leave(graceFrames)
	r.lookAtEnds(lookAtEnd)
	cancel()
	background.Wait()
	r.queue.abandon()
	r.saveWatermarks()
	r.ended = time.Now()
}

// waitAtMost waits for wg, but not longer than limit.
func waitAtMost(limit time.Duration, wg *sync.WaitGroup) {
	done := make(chan struct{})
	go func() { // ends with wg, which the caller waits for in any case
		wg.Wait()
		close(done)
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}

// catchUp waits until every answered frame has been dealt with.
func (r *runner) catchUp(limit time.Duration) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		behind := !r.queue.empty()
		for _, f := range r.feeds {
			behind = behind || f.follower != nil && f.follower.behind()
		}
		if !behind {
			return
		}
		select {
		case <-timer.C:
			return
		case <-look.C:
		}
	}
}

// leave takes every feed out of its pool, if there is one.
func (r *runner) leave(limit time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	var leaving sync.WaitGroup
	for _, f := range r.feeds {
		leaving.Go(func() { f.leave(ctx, r.link) })
	}
	leaving.Wait()
}

// housekeeping saves the watermarks and deletes images that come of age.
func (r *runner) housekeeping(ctx context.Context) {
	if r.store == nil {
		return
	}
	save := time.NewTicker(saveWatermarkEvery)
	defer save.Stop()
	sweep := time.NewTicker(sweepEvery)
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

func (r *runner) saveWatermarks() {
	for _, f := range r.feeds {
		if f.follower != nil {
			f.follower.saveWatermark()
		}
	}
}
