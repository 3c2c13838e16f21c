package status

import (
	"fmt"
	"strings"
	"time"

	"framekeeper/internal/files"
	"framekeeper/internal/text"
	"framekeeper/pkg/datatransfer"
)

// Box is the result of the command status.
type Box struct {
	Box     string   `json:"box"`
	Version string   `json:"version"`
	OK      bool     `json:"ok"` // the same as /readyz's
	UptimeS float64  `json:"uptime_s"`
	Config  string   `json:"config"`   // the file
	LoadedS float64  `json:"loaded_s"` // how long ago it was last taken over
	LinkS   float64  `json:"link_s"`   // how long the controller's link has been LIVE
	Cameras []Camera `json:"cameras"`  // in the order of the configuration

	Findings
}

// Findings are what does not keep a box from working, and has to be put right.
type Findings struct {
	Reload     *Reload            `json:"reload,omitempty"` // the last one since the controller's start
	Unwritable []files.Unwritable `json:"unwritable,omitempty"`
	Orphaned   []OrphanedSpool    `json:"unowned,omitempty"`
}

// Camera is one camera of a box: its agent's process, and what the agent reports.
type Camera struct {
	Process
	ForS float64 `json:"for_s"` // since when State holds
	Reported
}

// Reported is what an agent last reported in Redis, and the judgement of its
// camera.
type Reported struct {
	Link    string `json:"link"`           // state of the agent's link; "" if unknown
	Capture string `json:"capture"`        // state of its camera; "" if unknown
	Trouble string `json:"trouble"`        // why the camera does not work; "" if it does
	Note    string `json:"note,omitempty"` // why it is degraded
	Health  Health `json:"health"`
	Advice  string `json:"advice,omitempty"` // what to do about it
}

// OrphanedSpool is frames on disk of a camera that is not configured.
type OrphanedSpool struct {
	Camera string `json:"camera"` // the name it had
	Dir    string `json:"dir"`
	State  string `json:"state"` // what else there is of it: state_dir/<camera>
	Frames int    `json:"frames"`
	Bytes  int64  `json:"bytes"` // on disk
}

// Link is the controller's own connection to Redis.
type Link struct {
	State string    `json:"state"`
	Live  bool      `json:"live"`
	Since time.Time `json:"since"`
	Cause string    `json:"cause"` // why it is not LIVE, "" if it is

	Advice     string  `json:"advice,omitempty"`    // what to do about it
	Outages    uint64  `json:"losses"`              // times it was lost after it had been LIVE
	LastOutage *Outage `json:"last_loss,omitempty"` // nil: there was none
}

// LinkOf is a program's link as reports have it.
func LinkOf(s datatransfer.LinkStatus) Link {
	l := Link{State: s.State.String(), Live: s.State == datatransfer.Live, Since: s.Since, Outages: s.Outages, LastOutage: LastOutage(s)}
	if s.Cause != "" {
		l.Cause, l.Advice = string(s.Cause)+": "+s.Detail, s.Cause.Advice()
	}
	return l
}

// Alive is the JSON of /healthz.
type Alive struct {
	OK         bool     `json:"ok"`
	Controller string   `json:"controller"` // always "up": it answered
	Box        string   `json:"box"`
	Version    string   `json:"version"`
	Reasons    []string `json:"reasons"` // why not OK
}

// Ready is the JSON of /readyz.
type Ready struct {
	OK         bool     `json:"ok"`
	Health     Health   `json:"health"`
	Reasons    []string `json:"reasons"`    // why not OK
	Controller string   `json:"controller"` // always "up": it answered
	Head
	Order   []string               `json:"order"`   // the cameras' names as they are in the configuration
	Agents  map[string]Process     `json:"agents"`  // by camera name
	Cameras map[string]ReadyCamera `json:"cameras"` // by name
}

// ReadyCamera is one camera of Ready.
type ReadyCamera struct {
	Reported
	Writable bool   `json:"writable"`
	Reason   string `json:"reason"` // why it is not writable
}

// Reload is what came of reading the configuration again.
type Reload struct {
	OK       bool      `json:"ok"`                 // what the file had is in force
	Refused  bool      `json:"refused,omitempty"`  // the configuration from before goes on
	At       time.Time `json:"at"`                 // by the box's clock as it is set now
	AgoS     float64   `json:"ago_s"`              // the same for whose clock is another
	Problem  string    `json:"problem,omitempty"`  // the first; "" if OK
	Problems int       `json:"problems,omitempty"` // how many there were
}

// maxProblem is how much of a problem is shown, in characters: a line or two of
// a page. The log has all of it.
const maxProblem = 300

// NewReload is what came of a reload that ended at that time. Its problem is one
// line of bounded length.
func NewReload(refused bool, err error, at time.Time) *Reload {
	o := &Reload{OK: err == nil, Refused: refused && err != nil, At: at}
	if err != nil {
		lines := strings.Split(err.Error(), "\n")
		o.Problem, o.Problems = text.Printable(lines[0], maxProblem), len(lines)
	}
	return o
}

// Item is how the configuration is: degraded by a reload that failed. A box with
// no reload yet, which is nil, has a healthy one.
func (o *Reload) Item() Item {
	i := Item{ID: "reload", Name: "Configuration", Judgement: Judgement{Health: Healthy, Summary: "is in force"}}
	if o == nil || o.OK {
		return i
	}
	why := o.Problem
	if o.Problems > 1 {
		why = fmt.Sprintf("%s; and %d more", o.Problem, o.Problems-1)
	}
	i.Health, i.Summary, i.Reasons, i.Advice = Degraded, "is only partly in force", []Reason{{ConfigPartly, why}}, "correct that and reload"
	if o.Refused {
		i.Summary, i.Reasons[0].Code = "is refused; the old one stays in force", ConfigRefused
		i.Advice = "correct it and reload: until then the old configuration stays in force, but a restarted controller may refuse this file"
	}
	i.Notes = []string{"tried " + text.Lasting(time.Duration(o.AgoS*float64(time.Second))) + " ago"}
	return i
}
