package camera

import (
	"errors"
	"strings"
	"testing"
	"time"

	"framekeeper/pkg/camera"
	"framekeeper/pkg/rpc"
)

// Budgets, for a machine that is ten times slower than any other.
const (
	noticeError = 3 * time.Second // the driver says it
	noticeStall = 6 * time.Second // frames stay away: stall_timeout and then some
	backSoon    = 4 * time.Second
	pluggedSoon = 8 * time.Second  // the driver has to start first, and attempts get rarer
	feedSoon    = 15 * time.Second // and so has ffmpeg
	replySoon   = time.Second      // an error reply comes at once, not at its timeout
	worthWhile  = time.Second      // an outage in which some request must have been refused
)

// fault is something that takes the frames away.
type fault struct {
	name   string
	begin  func(s *scene)
	lasts  time.Duration  // until heal
	end    func(s *scene) // nil: it heals by itself
	reason string         // must be in the status
	notice time.Duration  // budget
	back   time.Duration  // budget; 0: backSoon
}

// runFault does what the fault says to an agent that streams, and judges it.
func (s *scene) runFault(f fault) {
	s.Helper()
	s.streaming()
	before, began := s.watcher.last(), time.Now()
	f.begin(s)
	noticed, ok := s.watcher.status(s.Context(), began, f.notice, func(c capture) bool {
		return c.State != camera.StateOK && strings.Contains(c.Reason, f.reason)
	})
	if !ok {
		s.Fatalf("the status does not contain %q within %s: %+v", f.reason, f.notice, s.watcher.last())
	}
	from := began
	if f.end != nil {
		s.sleep(f.lasts)
		from = time.Now()
		f.end(s)
	}
	back := s.frame(later(from, noticed.at))
	after := s.streaming()
	o := outcome{
		name: f.name, notice: noticed.at.Sub(began), recover: back.Sub(from), note: noticed.Reason,
		skipped: after.Skipped - before.Skipped, broken: after.Broken - before.Broken, reopens: after.Reopens - before.Reopens,
	}
	if f.back == 0 {
		f.back = backSoon
	}
	if o.recover > f.back {
		s.Errorf("frames are back after %s, budget %s", o.recover, f.back)
	}
	s.replies(&o, noticed.at, back)
	s.record(o)
}

// replies judges the answers given while there were no frames: errors that say
// why, and at once.
func (s *scene) replies(o *outcome, noticed, back time.Time) {
	s.Helper()
	_, replies := s.watcher.between(noticed, back)
	for _, r := range replies {
		var refused *rpc.ReplyError
		if !errors.As(r.err, &refused) {
			continue
		}
		o.refused++
		took := r.at.Sub(later(r.sent, noticed))
		o.slowest = max(o.slowest, took)
		if took > replySoon {
			s.Errorf("a request was refused after %s, budget %s", took, replySoon)
		}
		if refused.Reason == "" || strings.HasPrefix(refused.Reason, "timed out") {
			s.Errorf("a request was refused with %q, want the camera's trouble", refused.Reason)
		}
	}
	if o.refused == 0 && back.Sub(noticed) > worthWhile {
		s.Errorf("no request was refused in %s without frames", back.Sub(noticed))
	}
}

// streaming waits until frames flow and the status says so.
func (s *scene) streaming() capture {
	s.Helper()
	at := s.frame(time.Now())
	found, ok := s.watcher.status(s.Context(), at, patient, func(c capture) bool { return c.State == camera.StateOK })
	if !ok {
		s.Fatalf("frames flow, and the status says %+v", s.watcher.last())
	}
	return found.capture
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// faults are vivid's own.
func (w *world) faults(t *testing.T) {
	inject := func(settings ...string) func(*scene) {
		return func(s *scene) { s.control(s.T, settings...) }
	}
	const fatal = "inject_fatal_streaming_error=1"
	s := w.stage(t, w.quick())
	for _, f := range []fault{
		{name: "disconnect", begin: inject("disconnect=1"), reason: "unplugged", notice: noticeError},
		{name: "fatal streaming error", begin: inject(fatal), notice: noticeError},
		{name: "and STREAMON fails once", begin: inject("inject_vidioc_streamon_error=1", fatal), notice: noticeError},
		{name: "and REQBUFS fails once", begin: inject("inject_vidioc_reqbufs_error=1", fatal), notice: noticeError},
		{name: "QBUF fails once", begin: inject("inject_vidioc_qbuf_error=1"), notice: noticeError},
		{
			name: "every frame dropped", begin: inject("percentage_of_dropped_buffers=100"), lasts: time.Second,
			end: inject("percentage_of_dropped_buffers=0"), reason: camera.ErrNoData.Error(), notice: noticeStall,
		},
	} {
		t.Run(f.name, func(t *testing.T) { s.in(t).runFault(f) })
		if testing.Short() {
			return
		}
	}
	t.Run("flagged frames", func(t *testing.T) { s.in(t).flagged() })
	t.Run("frames dropped", func(t *testing.T) { s.in(t).dropped() })
}

// in is the scene for a row of its own.
func (s *scene) in(t *testing.T) *scene {
	row := *s
	row.T = t
	return &row
}

// flagged lets the driver hand over frames it calls broken: they are counted
// and thrown away, and that is all.
func (s *scene) flagged() {
	before, began := s.streaming(), time.Now()
	var found statusReport
	for n := range uint64(3) {
		s.control(s.T, "inject_v4l2_buf_flag_error=1")
		var ok bool
		found, ok = s.watcher.status(s.Context(), began, patient, func(c capture) bool { return c.Broken == before.Broken+n+1 })
		if !ok || found.Defect == "" {
			s.Fatalf("the status does not count broken frame %d and say why: %+v, before %+v", n+1, s.watcher.last(), before)
		}
	}
	s.undisturbed("frames flagged broken", before, began, found.Defect)
}

// dropped lets the driver lose part of the frames: they are counted by its own
// numbers, and that is all.
func (s *scene) dropped() {
	before, began := s.streaming(), time.Now()
	s.control(s.T, "percentage_of_dropped_buffers=40")
	_, ok := s.watcher.status(s.Context(), began, patient, func(c capture) bool { return c.Skipped >= before.Skipped+10 })
	s.control(s.T, "percentage_of_dropped_buffers=0")
	if !ok {
		s.Fatalf("the status does not count the dropped frames: %+v, before %+v", s.watcher.last(), before)
	}
	s.undisturbed("40 % of the frames dropped", before, began, "")
}

// undisturbed demands that nothing was reopened and every request got a frame.
func (s *scene) undisturbed(name string, before capture, began time.Time, note string) {
	after := s.streaming()
	o := outcome{
		name: name, notice: never, recover: never, slowest: never, note: note,
		skipped: after.Skipped - before.Skipped, broken: after.Broken - before.Broken, reopens: after.Reopens - before.Reopens,
	}
	_, replies := s.watcher.between(began, time.Now())
	for _, r := range replies {
		if r.err != nil {
			s.Errorf("a request was refused after %s: %v", r.took(), r.err)
		}
	}
	if o.reopens > 0 || len(replies) == 0 {
		s.Errorf("%d reopens and %d answers, want none and some", o.reopens, len(replies))
	}
	s.record(o)
}
