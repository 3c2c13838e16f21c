package agent

import (
	"context"
	"os"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/cli"
	"framekeeper/internal/status"
	"framekeeper/pkg/camera"
)

func (a *agent) status() status.Agent {
	host, _ := os.Hostname()
	answers, frames := a.publisher.Stats()
	stream := a.appender.Status()
	cam := a.tuning.now()
	return status.Agent{
		Camera: a.cam.Name, Instance: a.owner.Instance, Owner: a.owner.StateID, Host: host, PID: os.Getpid(), Boot: BootID(),
		Version: cli.Version(), TimeUS: a.clock.Now(), UptimeS: int64(time.Since(a.began).Seconds()),
		Source: camera.RedactSource(a.cam.Source), Delivery: string(a.cfg.Delivery.Mode),
		Encoding: string(a.cam.Encoding), Publish: cam.PublishFPS, Quality: cam.Quality, Controls: cam.Controls,
		Link: a.linkStatus(), Capture: a.captureStatus(),
		Writable: stream.Writable, Reason: stream.Reason, Stream: stream,
		Outbox: a.outbox.Stats(), Spool: a.spoolStatus(), Groups: a.groups.list(), Requests: a.responder.requests.Stats(), Answers: answers, Frames: frames,
		Encoded: a.responder.counts.status(), NoSocket: a.socket.why(),
	}
}

func (a *agent) linkStatus() status.AgentLink {
	s := a.link.Status()
	out := status.AgentLink{
		State: s.State.String(), SinceS: time.Since(s.Since).Seconds(),
		Sessions: s.Sessions, Outages: s.Outages, RTTUS: s.RTT.Microseconds(), Stuck: s.Stuck,
	}
	if s.Outages > 0 {
		out.LastOutage = &status.Outage{
			Cause: string(s.LastOutage.Cause), AgoS: time.Since(s.LastOutage.At).Seconds(), LastedS: s.LastOutage.Lasted.Seconds(),
		}
	}
	return out
}

func (a *agent) captureStatus() status.Capture {
	h := a.grabber.Health()
	age := int64(-1)
	if !h.LastFrame.IsZero() {
		age = time.Since(h.LastFrame).Milliseconds()
	}
	out := status.Capture{
		State: h.State, Reason: h.Reason, FPS: h.FPS, AgeMS: age, Frames: h.Frames, Skipped: h.Skipped,
		Broken: h.Broken, Defect: h.BrokenWhy,
		Reopens: h.Reopens, Stalls: h.Stalls, Driver: h.Info.Driver, Width: h.Info.Width, Height: h.Info.Height,
	}
	if h.Frames > 0 {
		out.Format = h.Info.Format.String()
	}
	return out
}

func (c *encodeCounts) status() status.Encoded {
	s := status.Encoded{Frames: c.encoded.Load(), Failed: c.failed.Load()}
	if s.Frames > 0 {
		s.MeanMS = float64(c.nanoseconds.Load()) / float64(s.Frames) / 1e6
	}
	return s
}

// wantStatus asks for a status to be shown now, because something changed.
func (a *agent) wantStatus() {
	select {
	case a.kick <- struct{}{}:
	default:
	}
}

// watch follows what happens beside the way of a frame: broken frames, a disk
// that does not answer, and the wall clock's steps. A box without a battery
// boots in 1970 and learns the time later; the frames' times follow, timeouts
// and IDs do not depend on it.
func (a *agent) watch(ctx context.Context) error {
	var seen flaws
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	hanging := false
	for {
		select {
		case <-tick.C:
			seen.report(a.grabber.Health(), time.Now(), a.log)
			if step, moved := a.clock.Resync(clockTolerance); moved {
				a.log.Warn().Int64("step_ms", step.Milliseconds()).Msg("the wall clock was set, frame times follow it")
				a.wantStatus() // Redis has let the one before expire
			}
			hanging = a.watchDisk(hanging)
		case <-ctx.Done():
			return nil
		}
	}
}

// hangAfter is more than a slow disk takes for anything.
const hangAfter = 5 * time.Second

// watchDisk tells once that the spool's disk hangs, and that it answers again.
func (a *agent) watchDisk(hanging bool) bool {
	if a.spooler == nil {
		return false
	}
	since := a.spooler.Hanging()
	switch {
	case !hanging && since > hangAfter:
		a.log.Error().Int64("for_ms", since.Milliseconds()).Str("spool_dir", a.cfg.Delivery.SpoolDir).
			Msg("the disk does not answer, frames stay in memory as far as it reaches")
	case hanging && since <= hangAfter:
		a.log.Info().Msg("the disk answers again")
	}
	if hanging != (since > hangAfter) {
		a.wantStatus()
	}
	return since > hangAfter
}

// flaws is what the log has been told of frames that did not arrive whole.
type flaws struct {
	broken, skipped uint64
	next            time.Time // not again before
}

const flawsInterval = time.Minute

// report tells of broken frames, at most once a minute. Skipped ones alone are
// no news: a busy box skips some.
func (f *flaws) report(h camera.Health, now time.Time, log zerolog.Logger) {
	if h.Broken == f.broken || now.Before(f.next) {
		return
	}
	log.Warn().Uint64("broken", h.Broken-f.broken).Uint64("skipped", h.Skipped-f.skipped).Str("last_defect", h.BrokenWhy).
		Msg("the camera's frames arrive broken and are thrown away")
	f.broken, f.skipped, f.next = h.Broken, h.Skipped, now.Add(flawsInterval)
}

const clockTolerance = 500 * time.Millisecond
