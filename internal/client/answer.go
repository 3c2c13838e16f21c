package client

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/async"
	"framekeeper/internal/text"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/redisconn"
	"framekeeper/pkg/rpc"
)

// noAgentWait limits the wait for an answer when no agent has announced
// itself; one that is just starting does so within that time.
const noAgentWait = 2 * time.Second

// start runs link until the returned function is called, which waits for its
// end. The returned context ends with ctx, or with the link and its reason.
func start(ctx context.Context, link *datatransfer.Link) (linked context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	var running sync.WaitGroup
	running.Go(func() { cancel(link.Run(ctx)) })
	return ctx, func() {
		cancel(nil)
		running.Wait()
	}
}

// requestOnce makes one request over a link of its own.
func requestOnce(
	ctx context.Context, cfg redisconn.Config, cam *camera.Config, timeout time.Duration, fields map[string]any,
) (*frame.Message, time.Duration, error) {
	requester := rpc.NewClient(rpc.ClientConfig{
		Camera: cam.Name, RequestTopic: cam.RequestTopic, Timeout: timeout,
	})
	waiting, abandon := context.WithCancelCause(ctx)
	defer abandon(nil)
	var last atomic.Pointer[report]
	link := datatransfer.NewLink(datatransfer.LinkConfig{
		Redis: cfg, Name: "client", Log: zerolog.Nop(), // the error reports what goes wrong, once
		MaxMessage: camera.LargestMessage(cam), MaxReply: maxStatus,
		Subscriptions: []datatransfer.Subscription{{Channel: cam.StreamTopic, Handle: func(payload []byte, _ time.Time) {
			if m, err := frame.ParseMessage(payload); err == nil && m.Header.Camera == cam.Name {
				requester.Deliver(m)
			}
		}}},
		Workers: []datatransfer.Worker{requester.Worker(), presence(cam, &last, abandon)},
	})
	// The link outlives the deadline: else it would be down because of it, and
	// be blamed for it.
	_, stop := start(context.WithoutCancel(ctx), link)
	defer stop()
	if err := link.WaitLive(ctx); err != nil {
		return nil, 0, unreached(link.Status(), cfg, timeout, err)
	}
	if deadline, ok := ctx.Deadline(); ok && fields["timeout_ms"] == nil {
		// A tenth is left for the agent's own "timed out" to travel back.
		fields["timeout_ms"] = max(1, time.Until(deadline).Milliseconds()*9/10)
	}
	asked := time.Now()
	m, err := requester.Request(waiting, fields)
	if err != nil {
		return nil, 0, explain(waiting, link, cam, last.Load(), timeout, err)
	}
	return m, time.Since(asked), nil
}

// presence reads the last status of the camera's agent, and abandons the request
// early when no agent has announced itself.
func presence(cam *camera.Config, last *atomic.Pointer[report], abandon context.CancelCauseFunc) datatransfer.Worker {
	return datatransfer.Worker{Name: "presence", Run: func(ctx context.Context, s *datatransfer.Session) error {
		for waited := false; ; waited = true {
			found, err := fetch(ctx, s.Data(), []*camera.Config{cam})
			switch {
			case err != nil:
				return nil // the request may be answered all the same
			case found[0].present:
				last.Store(&found[0])
			case waited && last.Load() == nil:
				abandon(fmt.Errorf("no agent answers for camera %s (there is no key %s): start its cam-agent, or the controller",
					cam.Name, cam.StatusKey()))
				return nil
			}
			if !async.Pause(ctx, noAgentWait) {
				return nil
			}
		}
	}}
}

// explain is why a request came to nothing; last is the agent's last status, or nil.
func explain(ctx context.Context, link *datatransfer.Link, cam *camera.Config, last *report, timeout time.Duration, err error) error {
	var refused *rpc.ReplyError
	cause := context.Cause(ctx)
	switch {
	case errors.As(err, &refused):
		return fmt.Errorf("camera %s: %s", cam.Name, refused.Reason)
	case ctx.Err() != nil && cause != nil && !errors.Is(cause, ctx.Err()):
		return cause
	case errors.Is(err, context.Canceled):
		return err
	}
	why := strings.TrimPrefix(err.Error(), rpc.ErrNoAnswer.Error()+": ")
	if s := link.Status(); s.State != datatransfer.Live {
		return fmt.Errorf("%w within %s: %s; the link to Redis is %s: %s", rpc.ErrNoAnswer, timeout, why, s.State, s.Detail)
	}
	if last != nil { // perhaps from before the agent ended
		if j := last.judge(); !j.Health.OK() {
			why += fmt.Sprintf("; it reported %s: %s", last.age(cam.StatusInterval), text.Printable(j.Why(), maxWhy))
		}
	}
	return fmt.Errorf("%w within %s: %s", rpc.ErrNoAnswer, timeout, why)
}

// unreached is why a request was never sent.
func unreached(s datatransfer.LinkStatus, cfg redisconn.Config, timeout time.Duration, err error) error {
	if s.Cause == redisconn.CauseNone { // nothing is wrong but the time
		return fmt.Errorf("%w within %s: not connected to Redis at %s yet (%s); allow more with --timeout",
			rpc.ErrNoAnswer, timeout, cfg.Shown(), s.State)
	}
	return fmt.Errorf("%w within %s: %w", rpc.ErrNoAnswer, timeout, err)
}
