package status

import (
	"fmt"
	"strings"
	"time"

	"framekeeper/internal/text"
)

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
