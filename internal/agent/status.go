package agent

import (
	"context"
	"os"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"framekeeper/internal/bytesize"
	"framekeeper/internal/cli"
	"framekeeper/internal/status"
	"framekeeper/internal/text"
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
	s.Stream.Reason = short(s.Stream.Reason)
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
		State: h.State, Reason: short(h.Reason), FPS: h.FPS, AgeMS: -1, Frames: h.Frames, Skipped: h.Skipped,
		Broken: h.Broken, Defect: short(h.BrokenWhy),
		Reopens: h.Reopens, Stalls: h.Stalls, Driver: short(h.Info.Driver), Width: h.Info.Width, Height: h.Info.Height,
	}
	if !h.LastFrame.IsZero() {
		out.AgeMS = time.Since(h.LastFrame).Milliseconds()
	}
	if h.Frames > 0 {
		out.Format = h.Info.Format.String()
	}
	return out
}

// short bounds what a camera or a server has a part in.
func short(reason string) string { return text.Printable(reason, 2000) }

// consumerGroups asks Redis how far the stream's readers are, so that an operator
// sees who lags.
type consumerGroups struct {
	key      string
	interval time.Duration

	mu  sync.Mutex // guards all
	all []status.ConsumerGroup

	log  zerolog.Logger
	many bool // that there are too many has been logged
}

// How much of the groups, which any reader can make, is in the status: every Redis must
// accept it.
const (
	maxGroups    = 200
	maxGroupName = 200 // characters
)

func (g *consumerGroups) reportMany(n int) {
	if many := n > maxGroups; many != g.many {
		g.many = many
		if many {
			g.log.Warn().Str("stream", g.key).Int("groups", n).Int("shown", maxGroups).Msg("The stream has more consumer groups than the status shows")
		}
	}
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
		g.reportMany(len(infos))
		all := make([]status.ConsumerGroup, min(len(infos), maxGroups))
		for i, info := range infos[:len(all)] {
			all[i] = status.ConsumerGroup{
				Name: text.Printable(info.Name, maxGroupName), Consumers: info.Consumers, Pending: info.Pending, Last: info.LastDeliveredID, Lag: info.Lag,
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
