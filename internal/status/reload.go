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

// maxProblem is how much of a problem is told, in characters: a line or two of
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

// Says is what is not as the file has it, in a few words: "" if nothing, or if
// there was no reload yet.
func (o *Reload) Says() string {
	switch {
	case o == nil || o.OK:
		return ""
	case o.Refused:
		return "the new configuration is refused"
	default:
		return "the new configuration is not wholly taken over"
	}
}

// Reason is why.
func (o *Reload) Reason() string {
	if o.Problems > 1 {
		return fmt.Sprintf("%s; and %d more", o.Problem, o.Problems-1)
	}
	return o.Problem
}

// Advice is what to do about it.
func (o *Reload) Advice() string {
	if o.Refused {
		return "correct it and reload: until then the box goes on with the old configuration, but may not start again with this one"
	}
	return "correct that and reload"
}

// Clock is when it was, by the box's clock; with the date if that was not just
// now.
func (o *Reload) Clock(now time.Time) string {
	if now.Sub(o.At) < 12*time.Hour {
		return o.At.Format("15:04")
	}
	return o.At.Format("2006-01-02 15:04")
}
