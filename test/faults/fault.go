package main

import (
	"time"

	"framekeeper/pkg/redisconn"
)

// The agent's log lines that mark the changes measured here.
const (
	msgLost         = "Redis connection lost, attempting reconnection..."
	msgBack         = "Reconnected to Redis successfully and re-subscribed to channels."
	msgConnected    = "Connected to Redis and subscribed to channels."
	msgNotReachable = "Redis is not reachable yet, trying until it is."
	msgRefused      = "Redis does not accept frames; they wait in the log"
	msgAccepted     = "Redis accepts frames again"
)

// fault is one row of the matrix: what is broken, how it is mended, and how
// soon the agent has to have noticed both.
type fault struct {
	name   string
	slow   bool          // it is repeated -reps-slow times
	hold   time.Duration // how long it lasts
	short  time.Duration // the same in the short form
	unable func() error  // why it cannot be shown here; nil: it always can
	tune   tuning
	fresh  bool // every repetition gets an agent and a Redis of its own
	calm   bool // the agent takes it for part of the last outage if that has just ended

	world func(r *rig)           // sets up Redis, the wire to it and the agent's way there
	hurt  func(r *rig) time.Time // breaks it, and says when that was
	heal  func(r *rig) time.Time // mends it, and says since when it works; nil: nothing to mend
	check func(r *rig) error     // what else must hold after the recovery
	tidy  func(r *rig)           // makes ready for the next repetition
	// rep replaces the usual repetition: hurt, hold, heal, wait, tidy.
	rep func(r *rig, f *fault, hold time.Duration) sample

	lost, back string            // the lines that mark detection and recovery; "": msgLost, msgBack
	causes     []redisconn.Cause // one of these has to be logged
	budget     budget
}

// budget is what the times may be at most; 0 is any.
type budget struct {
	Detect  time.Duration `json:"detect"`
	LiveP50 time.Duration `json:"live_p50"`
	Live    time.Duration `json:"live_p99"`
}

// tuning is what a row wants of the camera.
type tuning struct {
	width, height int
	publish       float64
	encoding      string
	retain        string
	silent        bool // nobody asks for frames
}

// cameraFPS is the rate of the test camera.
const cameraFPS = 30

func (t tuning) orDefault() tuning {
	if t.width == 0 {
		t.width, t.height = 320, 240
	}
	if t.publish == 0 {
		t.publish = cameraFPS
	}
	if t.encoding == "" {
		t.encoding = "jpeg"
	}
	if t.retain == "" {
		t.retain = "32MiB"
	}
	return t
}

func (f *fault) lines() (lost, back string) {
	lost, back = f.lost, f.back
	if lost == "" {
		lost = msgLost
	}
	if back == "" {
		back = msgBack
	}
	return lost, back
}

// sample is what one repetition measured. Never marks what did not happen.
type sample struct {
	Detect   time.Duration `json:"detect"`
	Live     time.Duration `json:"live"`
	Answer   time.Duration `json:"answer"`
	Drained  time.Duration `json:"drained"`
	Losses   int           `json:"losses"` // lines that reported an outage
	Cause    string        `json:"cause"`  // that was logged first
	Problems []string      `json:"problems,omitempty"`

	window span
}

const never = time.Duration(-1)

func blank() sample {
	return sample{Detect: never, Live: never, Answer: never, Drained: never}
}
