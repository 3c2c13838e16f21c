// Package control has the commands that a box's controller takes over Redis, and
// both ends of that: Call sends one, Server answers. It promises that every command
// it can read is answered, with its id; that a command that comes again under its
// id gets the same answer and has no second effect; that none which may be meant
// for another controller of the box's name (Rivals) is carried out; and that
// nothing of this holds up the link. A Server outlives links, so that a reload may
// replace the link that brought it. It refuses unknown commands and lists those
// there are. What commands do is the controller's business.
package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"framekeeper/internal/agentapi"
	"framekeeper/pkg/frame"
)

// The commands.
const (
	Status  = "status"
	Restart = "restart"
	Stop    = "stop"
	Start   = "start"
	Reload  = "reload"
	Set     = "set"
	Events  = "events"
)

// MaxEvents is how many events one answer has at most.
const MaxEvents = 500

// Channel is where a box takes commands.
func Channel(box string) string { return "control/" + box }

// ReplyChannel is where it answers them.
func ReplyChannel(box string) string { return "control-reply/" + box }

// Command is one command as it was read.
type Command struct {
	ID       string // "": every copy is a command of its own
	Instance string // the controller that is meant, where several have the box's name; "": the only one
	Name     string
	Camera   string            // of restart, stop, start and set
	Settings agentapi.Settings // of set
	Since    time.Time         // of events: from then on
	Limit    int               // of events: the newest so many
	Timeout  time.Duration     // for its effect; 0: the default
}

// Bounds of a command beyond those of any request (see pkg/frame).
const (
	maxControls    = 100
	maxControlName = 64
	maxCamera      = 64
)

// ErrCommand is what every refusal of a command wraps.
var ErrCommand = errors.New("malformed command")

const sample = `{"id": "1", "command": "restart", "camera": "greencam1"}`

// Parse reads a command as it arrives. When it fails, the Command still carries
// an ID that could be read, so that the answer can be matched.
func Parse(data []byte) (Command, error) {
	r, err := frame.ParseRequest(data)
	c := Command{ID: r.ID, Timeout: r.Timeout}
	if err != nil {
		text, _, _ := strings.Cut(strings.TrimPrefix(err.Error(), frame.ErrRequest.Error()+": "), "; expected one object")
		return c, refuse("%s; expected one object such as %s", text, sample)
	}
	var keys map[string]json.RawMessage
	if err := frame.Decode(r.Object, &keys); err != nil {
		return c, refuse("not JSON: %v", err)
	}
	if err := decode(keys, key{"instance", &c.Instance, "a string"}, key{"command", &c.Name, "a string"}); err != nil {
		return c, err // instance first, so that only one controller complains of the rest
	}
	allowed, known := keysOf(c.Name)
	all := strings.Join([]string{Events, Reload, Restart, Set, Start, Status, Stop}, ", ")
	switch {
	case c.Name == "":
		return c, refuse("command is missing; there are %s", all)
	case !known:
		return c, fmt.Errorf("no command %.40q; there are %s", c.Name, all)
	}
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		if !slices.Contains(allowed, k) {
			return c, refuse("unknown key %.40q; %s has %s", k, c.Name, strings.Join(allowed, ", "))
		}
	}
	return c, c.arguments(keys)
}

// keysOf are the keys a command may have.
func keysOf(name string) (keys []string, known bool) {
	keys = []string{"id", "command", "timeout_ms", "instance"}
	switch name {
	case Status, Reload:
		return keys, true
	case Events:
		return append(keys, "since_us", "limit"), true
	case Restart, Stop, Start:
		return append(keys, "camera"), true
	case Set:
		return append(keys, "camera", "publish_fps", "quality", "controls"), true
	}
	return nil, false
}

func (c *Command) arguments(keys map[string]json.RawMessage) error {
	if err := decode(keys, key{"camera", &c.Camera, "a string"}); err != nil {
		return err
	}
	if len(c.Camera) > maxCamera {
		return refuse("camera is longer than %d bytes", maxCamera)
	}
	if err := decode(keys, key{"publish_fps", &c.Settings.PublishFPS, "a number"}, key{"quality", &c.Settings.Quality, "a whole number"},
		key{"controls", &c.Settings.Controls, `an object of whole numbers such as {"exposure": 250}`}); err != nil {
		return err
	}
	if len(c.Settings.Controls) > maxControls {
		return refuse("%d controls, at most %d are allowed", len(c.Settings.Controls), maxControls)
	}
	for name := range c.Settings.Controls {
		if name == "" || len(name) > maxControlName {
			return refuse("a control's name has %d bytes, expected 1 to %d", len(name), maxControlName)
		}
	}
	if c.Name == Events {
		return c.which(keys)
	}
	if c.Name == Set && c.Settings.Empty() {
		return refuse("nothing to set, expected publish_fps, quality or controls")
	}
	return nil
}

// which events are meant.
func (c *Command) which(keys map[string]json.RawMessage) error {
	var since int64
	c.Limit = MaxEvents
	if err := decode(keys, key{"since_us", &since, "Unix microseconds"}, key{"limit", &c.Limit, "a whole number"}); err != nil {
		return err
	}
	if c.Limit < 1 || c.Limit > MaxEvents {
		return refuse("limit is %d, expected 1 to %d", c.Limit, MaxEvents)
	}
	c.Since = time.UnixMicro(since)
	return nil
}

// reads reports whether the command only reads: then every controller of the name
// answers it, and nothing waits for it.
func (c *Command) reads() bool { return c.Name == Status || c.Name == Events }

// key is one of a command's keys, and where its value belongs.
type key struct {
	name     string
	into     any
	expected string
}

// decode reads the keys that are there. null is not a value.
func decode(values map[string]json.RawMessage, keys ...key) error {
	for _, k := range keys {
		v, ok := values[k.name]
		if ok && (string(v) == "null" || frame.Decode(v, k.into) != nil) {
			return refuse("%s is %.40s, expected %s", k.name, v, k.expected)
		}
	}
	return nil
}

func refuse(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrCommand}, args...)...)
}
