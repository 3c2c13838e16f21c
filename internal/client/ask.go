package client

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"framekeeper/internal/cli"
	"framekeeper/internal/text"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/rpc"
)

const (
	angleStep = 25
	angleMax  = 1000

	// maxInFlight bounds the requests that wait for an answer; beyond it a
	// request is skipped and counted.
	maxInFlight = 64
)

// ask sends a request every interval until ctx ends, whether or not earlier
// ones have been answered, and returns when the last has been or requests ends.
func (f *feed) ask(ctx, requests context.Context, link *datatransfer.Link) {
	if !f.ready(ctx, link) {
		return
	}
	ticker := time.NewTicker(f.interval)
	defer ticker.Stop()
	var flying sync.WaitGroup
	defer flying.Wait()
	slots := make(chan struct{}, maxInFlight)
	replies := &replyLog{feed: f}
	for angle := 0; ; {
		select {
		case slots <- struct{}{}:
			sent := angle
			flying.Go(func() {
				f.askOnce(requests, sent, replies)
				<-slots
			})
			if angle += angleStep; angle > angleMax {
				angle = 0
			}
		default:
			f.counts.skipped.Add(1)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// ready waits until requests make sense: the link stands, and what they bring
// will be read.
func (f *feed) ready(ctx context.Context, link *datatransfer.Link) bool {
	if link.WaitLive(ctx) != nil { // ctx has ended; the link itself tells what keeps it
		return false
	}
	if f.follower == nil {
		return true
	}
	select {
	case <-f.follower.begun:
		return true
	case <-ctx.Done():
		return false
	}
}

// askOnce makes one request and counts what came of it.
func (f *feed) askOnce(ctx context.Context, angle int, replies *replyLog) {
	early := !f.seen.Load()
	f.counts.requests.Add(1)
	sent := time.Now()
	m, err := f.requester.Request(ctx, map[string]any{"angle": angle})
	took := time.Since(sent)
	var refused *rpc.ReplyError
	switch {
	case err == nil:
		f.counts.answers.Add(1)
		f.latency.add(took)
		f.noteAnswer(m.Header.ID)
		replies.answered()
		if !echoes(m, angle) {
			f.counts.wrong.Add(1)
			f.log.Error().Stringer("id", m.Header.ID).Int("angle", angle).Str("request", text.Printable(string(m.Header.Request), 0)).
				Msg("An answer does not carry the angle it was asked for")
		}
	case errors.As(err, &refused):
		f.counts.errors.Add(1)
		replies.failed(refused)
	default:
		if early {
			f.counts.early.Add(1)
		}
		if ctx.Err() == nil { // else abandoned at the end; neither answered nor timed out
			f.counts.timeouts.Add(1)
			replies.failed(err)
		}
	}
}

// noteAnswer remembers the newest ID.
func (f *feed) noteAnswer(id frame.ID) {
	for {
		old := f.answered.Load()
		if old != nil && !old.Less(id) || f.answered.CompareAndSwap(old, &id) {
			return
		}
	}
}

// echoes says whether the answer's request carries the angle that was sent.
func echoes(m *frame.Message, angle int) bool {
	var request struct {
		Angle *int `json:"angle"`
	}
	err := json.Unmarshal(m.Header.Request, &request)
	return err == nil && request.Angle != nil && *request.Angle == angle
}

// replyLog logs that requests fail when they begin to, and that they are
// answered again.
type replyLog struct {
	feed *feed

	mu    sync.Mutex // guards since and count
	since time.Time
	count int
}

func (l *replyLog) failed(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.count++; l.count == 1 {
		l.since = time.Now()
		l.feed.log.Warn().Str("reason", cli.OneLine(err)).Msg("Requests are not answered with frames")
	}
}

func (l *replyLog) answered() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.count > 0 {
		l.feed.log.Info().Int("failed", l.count).Int64("lasted_ms", time.Since(l.since).Milliseconds()).Msg("Requests are answered again")
		l.count = 0
	}
}
