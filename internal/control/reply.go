package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"framekeeper/internal/supervise"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/redisconn"
)

// The two outcomes of a command.
const (
	OK    = "ok"
	Error = "error"
)

// Reply is the answer to one command.
type Reply struct {
	ID      string          `json:"id"`
	Command string          `json:"command,omitempty"`
	Camera  string          `json:"camera,omitempty"`
	Status  string          `json:"status"` // ok or error
	Error   string          `json:"error,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"` // depends on the command; may be there with an error too
	TimeUS  int64           `json:"time_us"`          // Unix microseconds
	Identity
	Rivals []Identity `json:"namesakes,omitempty"` // other controllers of the box's name that are alive
}

// encode is the answer to c as it is published.
func encode(c *Command, rivals *Rivals, result any, failure error, now time.Time) []byte {
	r := Reply{ID: c.ID, Command: c.Name, Camera: c.Camera, Status: OK, TimeUS: now.UnixMicro()}
	r.Identity, r.Rivals = rivals.Self(), rivals.Alive()
	if failure != nil {
		r.Status, r.Error = Error, failure.Error()
	}
	if result != nil {
		b, err := json.Marshal(result)
		if err != nil {
			r.Status, r.Error = Error, "the result cannot be encoded: "+err.Error()
		}
		r.Result = b
	}
	b, err := json.Marshal(r)
	if err != nil { // Result is valid JSON by now, or nil
		return []byte(`{"id":"","status":"error","error":"the answer cannot be encoded"}`)
	}
	if err := redisconn.CheckArgument(b); err != nil {
		return encode(c, rivals, nil, fmt.Errorf("the answer has %w", err), now) // not the failure: that may be what is long
	}
	return b
}

// ParseReply reads an answer.
func ParseReply(data []byte) (*Reply, error) {
	var r Reply
	if err := frame.Decode(data, &r); err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	if r.Status != OK && r.Status != Error {
		return nil, fmt.Errorf("read answer: status is %.40q, expected ok or error", r.Status)
	}
	return &r, nil
}

// Err is the error of an answer that has one.
func (r *Reply) Err() error {
	if r.Status == OK {
		return nil
	}
	return errors.New(r.Error)
}

// ReloadResult is the result of the command reload.
type ReloadResult struct {
	Sections []string          `json:"sections"` // of the file that have changed
	Cameras  supervise.Changes `json:"cameras"`
}

// Seconds is a duration as results have it.
func Seconds(d time.Duration) float64 { return d.Round(time.Millisecond).Seconds() }
