package agent

import (
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"framekeeper/internal/cli"
	"framekeeper/internal/metrics"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/outbox"
)

// meters measure what only the part that does the work can measure. Everything
// else is read from the parts' own statistics at a scrape.
type meters struct {
	encode  prometheus.Histogram
	request prometheus.Histogram
	link    *metrics.Link

	mu       sync.Mutex // guards all below
	smoothed float64    // how long answers take, in milliseconds
	answered time.Time  // when the last one did
}

func newMeters(link func() datatransfer.LinkStatus) *meters {
	return &meters{
		encode: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: metrics.Prefix + "encode_seconds", Help: "How long making a frame's image took.",
			Buckets: prometheus.ExponentialBuckets(0.00025, 2, 12), // to 0.5 s
		}),
		request: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: metrics.Prefix + "request_seconds", Help: "From a request's arrival at the agent until Redis has taken its frame for the channel.",
			// From 0.5 on they double: the alert on slow answers counts on it.
			Buckets: []float64{0.002, 0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2, 4, 8, 16},
		}),
		link: metrics.NewLink("", link),
	}
}

// observeAnswer measures each answer that has been published.
func (m *meters) observeAnswer(clock *frame.Clock) func(frame.Header) {
	return func(h frame.Header) {
		if h.Status != frame.StatusOK || h.RequestedUS == 0 {
			return
		}
		took := clock.Now() - h.RequestedUS
		took = max(took, 0) // the clock may have been set meanwhile
		m.request.Observe(float64(took) / 1e6)
		m.smooth(float64(took)/1e3, time.Now())
	}
}

// recent is how long after the last answer its time counts.
const recent = time.Minute

// smooth takes the time of an answer, an eighth of the mean, as TCP has it.
func (m *meters) smooth(ms float64, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if now.Sub(m.answered) > recent {
		m.smoothed = ms
	}
	m.smoothed += (ms - m.smoothed) / 8
	m.answered = now
}

// answerMS is how long answers take, in milliseconds; 0 if there was none lately.
func (m *meters) answerMS(now time.Time) float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if now.Sub(m.answered) > recent {
		return 0
	}
	return math.Round(m.smoothed*10) / 10
}

// newRegistry has all metrics of an agent.
func newRegistry(camera string, m *meters, s statistics) (*prometheus.Registry, error) {
	r, err := metrics.NewRegistry(prometheus.Labels{"camera": camera},
		m.encode, m.request, m.link, metrics.NewTable(rows(), s.read))
	if err != nil {
		return nil, fmt.Errorf("make registry: %w", err)
	}
	return r, nil
}

// rows names what read reads.
func rows() []metrics.Row {
	return []metrics.Row{
		{Name: "agent_info", Help: "The agent's version.", Labels: []string{"version"}},
		{Name: "capture_frames_total", Help: "New frames from the camera."},
		{Name: "capture_skipped_frames_total", Help: "Frames the driver left out, by its own counter."},
		{Name: "capture_broken_frames_total", Help: "Frames discarded because they arrived damaged."},
		{Name: "capture_stalls_total", Help: "Times no new frame came for stall_timeout."},
		{Name: "capture_reopens_total", Help: "Attempts to open the camera again."},
		{Name: "capture_fps", Help: "New frames a second over the last few, falling when they stay away."},
		{Name: "capture_latency_seconds", Help: "How old a frame may be when it comes from the camera: source_latency, or its default."},
		{Name: "capture_frame_age_seconds", Help: "Age of the newest frame; missing before the first."},
		{Name: "capture_state", Help: "1 for the state of the camera, 0 for the others.", Labels: []string{"state"}},
		{Name: "encode_failures_total", Help: "Frames that could not be encoded."},
		{Name: "requests_received_total", Help: "Messages on the request channel."},
		{Name: "requests_total", Help: "Requests by what became of them: answered, repeated (known by their id, and answered from memory), or the reason of the error reply.", Labels: []string{"outcome"}},
		{Name: "requests_pending", Help: "Requests that wait for their frame."},
		{Name: "frames_numbered_total", Help: "Frames that were given an ID: answers and continuous ones."},
		{Name: "frames_added_total", Help: "Frames that Redis took for the stream (delivery pubsub: for the channel), those added again included."},
		{Name: "frames_resent_total", Help: "Frames added again because Redis had lost them."},
		{Name: "frames_lost_total", Help: "Frames given up before Redis had them, and declared in the stream, by reason.", Labels: []string{"reason"}},
		{Name: "messages_published_total", Help: "Messages published on the stream channel, by lane: answers, or continuous frames.", Labels: []string{"lane"}},
		{Name: "messages_unheard_total", Help: "Messages published while nobody was subscribed.", Labels: []string{"lane"}},
		{Name: "messages_dropped_total", Help: "Messages given up unpublished because too many waited for the link.", Labels: []string{"lane"}},
		{Name: "messages_refused_total", Help: "Messages that Redis did not permit.", Labels: []string{"lane"}},
		{Name: "messages_waiting", Help: "Messages that wait to be published.", Labels: []string{"lane"}},
		{Name: "stream_writable", Help: "1 if Redis takes frames for the stream, 0 if not."},
		{Name: "stream_conflict", Help: "1 if somebody else writes to the stream."},
		{Name: "stream_vanished_total", Help: "Times the stream disappeared from a connected Redis."},
		{Name: "stream_trims_total", Help: "Times the stream was halved because Redis had no memory left."},
		{Name: "outbox_unsent_frames", Help: "Frames that Redis has not taken yet, in memory and on disk."},
		{Name: "outbox_unsent_bytes", Help: "Memory of frames that Redis has not taken yet."},
		{Name: "outbox_held_bytes", Help: "Memory of all frames held, those included that Redis has."},
		{Name: "outbox_limit_bytes", Help: "What outbox_held_bytes may reach: retain_bytes."},
		{Name: "spool_usable", Help: "1 if there is a spool, 0 if its disk cannot be used."},
		{Name: "spool_frames", Help: "Frames that wait on disk."},
		{Name: "spool_bytes", Help: "Disk space of frames that wait there."},
		{Name: "spool_limit_bytes", Help: "What spool_bytes may reach: spool_max_bytes."},
		{Name: "spool_oldest_age_seconds", Help: "Age of the oldest frame on disk; 0 if there is none."},
		{Name: "spool_written_frames_total", Help: "Frames written to disk."},
		{Name: "spool_errors_total", Help: "Calls of the spool's disk that failed."},
		{Name: "spool_hanging_seconds", Help: "How long the spool's disk has not answered; 0 if it does."},
	}
}

// read sets the values of one scrape.
func (c *statistics) read(v metrics.Values) {
	v.Set("agent_info", 1, cli.Version())
	c.readCapture(v)
	c.readRequests(v)
	c.readFrames(v)
	c.readSpool(v)
}

func (c *statistics) readCapture(v metrics.Values) {
	h := c.Capture()
	v.Set("capture_frames_total", float64(h.Frames))
	v.Set("capture_skipped_frames_total", float64(h.Skipped))
	v.Set("capture_broken_frames_total", float64(h.Broken))
	v.Set("capture_stalls_total", float64(h.Stalls))
	v.Set("capture_reopens_total", float64(h.Reopens))
	v.Set("capture_fps", h.FPS)
	v.Set("capture_latency_seconds", c.Latency().Seconds())
	if !h.LastFrame.IsZero() {
		v.Set("capture_frame_age_seconds", time.Since(h.LastFrame).Seconds())
	}
	v.State("capture_state", string(h.State), metrics.Names(camera.States()))
	v.Set("encode_failures_total", float64(c.Replies.unencodable.Load()))
}

func (c *statistics) readRequests(v metrics.Values) {
	s := c.Requests()
	v.Set("requests_received_total", float64(s.Received))
	v.Set("requests_pending", float64(s.Pending))
	for outcome, n := range map[string]uint64{
		"answered": s.Answered, "repeated": s.Repeated, "rate": s.Refused, "malformed": s.Malformed, "busy": s.Busy,
	} {
		v.Set("requests_total", float64(n), outcome)
	}
	for f := range failures {
		v.Set("requests_total", float64(c.Replies.failed[f].Load()), f.String())
	}
}

func (c *statistics) readFrames(v metrics.Values) {
	o := c.Frames()
	v.Set("frames_numbered_total", float64(o.Added))
	v.Set("frames_added_total", float64(o.Sent+o.Resent)) // Sent alone falls when Redis loses frames
	v.Set("frames_resent_total", float64(o.Resent))
	lost := c.Losses()
	for _, kind := range outbox.LossKinds() {
		v.Set("frames_lost_total", float64(lost[kind]), kind)
	}
	v.Set("outbox_unsent_frames", float64(o.Unsent))
	v.Set("outbox_unsent_bytes", float64(o.UnsentSize))
	v.Set("outbox_held_bytes", float64(o.MemorySize))
	v.Set("outbox_limit_bytes", float64(c.MemoryLimit))
	s := c.Stream()
	v.Flag("stream_writable", s.Writable)
	v.Flag("stream_conflict", s.Conflict)
	v.Set("stream_vanished_total", float64(s.Vanished))
	v.Set("stream_trims_total", float64(s.Trimmed))
	answers, frames := c.Messages()
	for lane, l := range map[string]outbox.LaneStats{"answers": answers, "frames": frames} {
		v.Set("messages_published_total", float64(l.Published), lane)
		v.Set("messages_unheard_total", float64(l.NoReceivers), lane)
		v.Set("messages_dropped_total", float64(l.Dropped), lane)
		v.Set("messages_refused_total", float64(l.Refused), lane)
		v.Set("messages_waiting", float64(l.Waiting), lane)
	}
}

func (c *statistics) readSpool(v metrics.Values) {
	s := c.Spool()
	v.Flag("spool_usable", s != nil)
	if s == nil {
		return
	}
	v.Set("spool_frames", float64(s.Frames))
	v.Set("spool_bytes", float64(s.Bytes))
	v.Set("spool_limit_bytes", float64(c.SpoolLimit))
	v.Set("spool_oldest_age_seconds", s.AgeS)
	v.Set("spool_written_frames_total", float64(s.Written))
	v.Set("spool_errors_total", float64(s.Errors))
	v.Set("spool_hanging_seconds", s.HangingS)
}
