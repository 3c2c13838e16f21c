package agent

import (
	"context"
	"os"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"framekeeper/internal/bytesize"
	"framekeeper/internal/cli"
	"framekeeper/internal/status"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/outbox"
	"framekeeper/pkg/redisconn"
	"framekeeper/pkg/rpc"
)

// statistics reads what the parts count, for status and metrics.
type statistics struct {
	Capture  func() camera.Health
	Latency  func() time.Duration
	Link     func() datatransfer.LinkStatus
	Requests func() rpc.ServerStats
	Replies  *responderCounts
	Frames   func() outbox.Stats
	Losses   func() map[string]uint64
	Stream   func() outbox.StreamStatus
	Messages func() (answers, frames outbox.LaneStats)
	Spool    func() *status.Spool
	Groups   func() []status.ConsumerGroup

	MemoryLimit, SpoolLimit bytesize.Size // of Frames and Spool
}

func (a *agent) statistics() statistics {
	return statistics{
		Capture: a.grabber.Health, Latency: a.grabber.Latency,
		Link: func() datatransfer.LinkStatus { return a.link.Status() }, Requests: a.responder.requests.Stats, Replies: &a.responder.counts,
		Frames: a.frames.Stats, Losses: a.frames.Losses, Stream: a.writer.Status, Messages: a.publisher.Stats,
		Spool: a.spool.status, Groups: a.groups.list,
		MemoryLimit: a.cfg.Delivery.RetainBytes, SpoolLimit: a.cfg.Delivery.SpoolMaxBytes,
	}
}

// newStatus gives the function that composes the status.
func (a *agent) newStatus() func() any {
	host, _ := os.Hostname()
	constant := status.Agent{
		Camera: a.cam.Name, Instance: a.claim.Instance, Owner: a.claim.StateID, Host: host, PID: os.Getpid(), Boot: bootID(),
		Version: cli.Version(), Source: camera.RedactSource(a.cam.Source), Delivery: string(a.cfg.Delivery.Mode),
		Encoding: string(a.cam.Encoding),
	}
	statistics, began := a.statistics(), time.Now()
	return func() any {
		s := statistics.status(constant)
		cam := a.settings.current()
		s.Publish, s.Quality, s.Controls = cam.PublishFPS, cam.Quality, cam.Controls
		s.AnswerMS = a.meters.answerMS(time.Now())
		s.TimeUS, s.UptimeS, s.NoSocket = a.clock.Now(), int64(time.Since(began).Seconds()), a.socket.why()
		return s
	}
}

// status completes s with what the parts count now.
func (c *statistics) status(s status.Agent) status.Agent {
	s.Link, s.Capture = newLinkStatus(c.Link()), newCaptureStatus(c.Capture())
	s.Stream = c.Stream()
	s.Writable, s.Reason = s.Stream.Writable, s.Stream.Reason
	s.Outbox, s.Spool, s.Groups, s.Requests = c.Frames(), c.Spool(), c.Groups(), c.Requests()
	s.Answers, s.Frames = c.Messages()
	s.Lost = c.Losses()
	s.Encoded = status.Encoded{Frames: c.Replies.encoded.Load(), Failed: c.Replies.unencodable.Load()}
	if n := s.Encoded.Frames; n > 0 {
		s.Encoded.MeanMS = float64(c.Replies.nanoseconds.Load()) / float64(n) / 1e6
	}
	return s
}

func newLinkStatus(s datatransfer.LinkStatus) status.AgentLink {
	return status.AgentLink{
		State: s.State.String(), SinceS: time.Since(s.Since).Seconds(),
		Sessions: s.Sessions, Outages: s.Outages, RTTUS: s.RTT.Microseconds(), Stuck: s.Stuck, LastOutage: status.LastOutage(s),
	}
}

func newCaptureStatus(h camera.Health) status.Capture {
	out := status.Capture{
		State: h.State, Reason: h.Reason, FPS: h.FPS, AgeMS: -1, Frames: h.Frames, Skipped: h.Skipped,
		Broken: h.Broken, Defect: h.BrokenWhy,
		Reopens: h.Reopens, Stalls: h.Stalls, Driver: h.Info.Driver, Width: h.Info.Width, Height: h.Info.Height,
	}
	if !h.LastFrame.IsZero() {
		out.AgeMS = time.Since(h.LastFrame).Milliseconds()
	}
	if h.Frames > 0 {
		out.Format = h.Info.Format.String()
	}
	return out
}

// consumerGroups asks Redis how far the stream's readers are, so that an operator
// sees who lags.
type consumerGroups struct {
	key      string
	interval time.Duration

	mu  sync.Mutex // guards all
	all []status.ConsumerGroup
}

func (g *consumerGroups) list() []status.ConsumerGroup {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]status.ConsumerGroup{}, g.all...)
}

func (g *consumerGroups) worker() datatransfer.Worker {
	return datatransfer.Worker{Name: "consumer groups", Run: func(ctx context.Context, s *datatransfer.Session) error {
		return g.run(ctx, func() ([]redis.XInfoGroup, error) { return s.Data().XInfoGroups(ctx, g.key).Result() })
	}}
}

// run asks at each interval. A stream that is not there, or a command that is not
// permitted, leaves the list empty.
func (g *consumerGroups) run(ctx context.Context, ask func() ([]redis.XInfoGroup, error)) error {
	tick := time.NewTicker(g.interval)
	defer tick.Stop()
	for {
		infos, err := ask()
		if err != nil && redisconn.EndsSession(err) {
			return err
		}
		all := make([]status.ConsumerGroup, len(infos))
		for i, info := range infos {
			all[i] = status.ConsumerGroup{
				Name: info.Name, Consumers: info.Consumers, Pending: info.Pending, Last: info.LastDeliveredID, Lag: info.Lag,
			}
		}
		g.mu.Lock()
		g.all = all
		g.mu.Unlock()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}
