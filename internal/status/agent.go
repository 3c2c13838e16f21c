package status

import (
	"time"

	"framekeeper/pkg/camera"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/outbox"
	"framekeeper/pkg/rpc"
	"framekeeper/pkg/spool"
)

// Agent is the JSON of status/<camera> and status:<camera>.
type Agent struct {
	Camera   string  `json:"camera"`
	Instance string  `json:"instance"`
	Owner    string  `json:"owner"`
	Host     string  `json:"host"`
	PID      int     `json:"pid"`
	Boot     string  `json:"boot"` // differs between boxes that were made from one image
	Version  string  `json:"version"`
	TimeUS   int64   `json:"time_us"`
	UptimeS  int64   `json:"uptime_s"`
	Source   string  `json:"source"` // without credentials
	Delivery string  `json:"delivery"`
	Encoding string  `json:"encoding"`
	Publish  float64 `json:"publish_fps"`
	Quality  int     `json:"quality"`

	Controls map[string]int64 `json:"controls,omitempty"` // as configured, and as set since

	Link     AgentLink           `json:"link"`
	Capture  Capture             `json:"capture"`
	Writable bool                `json:"writable"` // the stream takes frames
	Reason   string              `json:"reason,omitempty"`
	Stream   outbox.StreamStatus `json:"stream"`
	Outbox   outbox.Stats        `json:"outbox"`
	Lost     map[string]uint64   `json:"lost"`            // frames since the start, by reason: a word of outbox.LossKinds
	Spool    *Spool              `json:"spool,omitempty"` // nil: the disk cannot be used
	Groups   []ConsumerGroup     `json:"groups"`
	Requests rpc.ServerStats     `json:"requests"`
	Answers  outbox.LaneStats    `json:"answers"`
	Frames   outbox.LaneStats    `json:"frames"`
	Encoded  Encoded             `json:"encoded"`
	AnswerMS float64             `json:"answer_ms"`           // from a request's arrival to its answer's publication, smoothed; 0: none in the last minute
	NoSocket string              `json:"no_socket,omitempty"` // why the controller cannot reach the agent's socket
}

// AgentLink is the agent's link to Redis.
type AgentLink struct {
	State      string   `json:"state"`
	SinceS     float64  `json:"since_s"`
	Sessions   uint64   `json:"sessions"`
	Outages    uint64   `json:"losses"`
	RTTUS      int64    `json:"rtt_us"`
	Stuck      []string `json:"stuck,omitempty"` // parts that do not return: a disk hangs
	LastOutage *Outage  `json:"last_loss,omitempty"`
}

// Outage is the last outage of a link.
type Outage struct {
	Cause   string  `json:"cause"`
	AgoS    float64 `json:"ago_s"`    // since it was noticed
	LastedS float64 `json:"lasted_s"` // 0 while it lasts
}

// LastOutage is that of a link; nil if there was none.
func LastOutage(s datatransfer.LinkStatus) *Outage {
	if s.Outages == 0 {
		return nil
	}
	return &Outage{string(s.LastOutage.Cause), time.Since(s.LastOutage.At).Seconds(), s.LastOutage.Lasted.Seconds()}
}

// Capture is the agent's camera.
type Capture struct {
	State   camera.State `json:"state"`
	Reason  string       `json:"reason,omitempty"`
	FPS     float64      `json:"fps"`
	AgeMS   int64        `json:"age_ms"` // of the last new frame; -1 before the first
	Frames  uint64       `json:"frames"`
	Skipped uint64       `json:"skipped"` // by the driver: missing in its counter
	Broken  uint64       `json:"broken"`  // discarded: flagged, cut short, undecodable
	Defect  string       `json:"defect,omitempty"`
	Reopens uint64       `json:"reopens"`
	Stalls  uint64       `json:"stalls"`
	Driver  string       `json:"driver,omitempty"`
	Width   int          `json:"width,omitempty"`
	Height  int          `json:"height,omitempty"`
	Format  string       `json:"format,omitempty"`
}

// Spool is what waits on the agent's disk.
type Spool struct {
	spool.Stats
	AgeS     float64 `json:"age_s"`               // of the oldest frame
	HangingS float64 `json:"hanging_s,omitempty"` // how long the disk has not answered
}

// ConsumerGroup is how far one consumer group of the stream is.
type ConsumerGroup struct {
	Name      string `json:"name"`
	Consumers int64  `json:"consumers"`
	Pending   int64  `json:"pending"` // handed out, not acknowledged
	Last      string `json:"last"`    // last ID handed out
	Lag       int64  `json:"lag"`     // entries not handed out yet; -1: Redis cannot tell
}

// Encoded counts the encoder's work.
type Encoded struct {
	Frames uint64  `json:"frames"`
	Failed uint64  `json:"failed"`
	MeanMS float64 `json:"mean_ms"`
}

// ParseAgent reads an agent's status.
func ParseAgent(text []byte) (a Agent, err error) {
	err = frame.Decode(text, &a)
	return a, err
}
