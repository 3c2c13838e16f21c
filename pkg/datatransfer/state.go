package datatransfer

import (
	"time"

	"framekeeper/pkg/redisconn"
)

// State is how far the link has come.
type State int

// The states of a link. Only LIVE has proved that messages arrive.
const (
	Down State = iota
	Connecting
	Subscribed
	Live
)

// States are all there are.
func States() []State { return []State{Down, Connecting, Subscribed, Live} }

func (s State) String() string {
	switch s {
	case Down:
		return "DOWN"
	case Connecting:
		return "CONNECTING"
	case Subscribed:
		return "SUBSCRIBED"
	case Live:
		return "LIVE"
	default:
		return "UNKNOWN"
	}
}

// MarshalText makes the state a JSON string.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LinkStatus is a link at one instant.
type LinkStatus struct {
	State      State
	Since      time.Time       // since when it is LIVE, or is not: attempts in between change nothing
	Changes    uint64          // of State
	Moved      time.Time       // when the link last did anything: a probe came back, an attempt began or failed
	Cause      redisconn.Cause // why the last session ended or could not begin; "" while LIVE
	Detail     string          // the error behind Cause, without secrets
	Addr       string          // of the node last tried
	Attempts   int             // sessions tried since the link was last LIVE
	Sessions   uint64          // times the link became LIVE
	Outages    uint64          // times it was lost after that
	RTT        time.Duration   // of the last probe: published, and received back
	LastOutage Outage
	TooLarge   uint64   // values that were longer than can be used, and came as empty ones
	Stuck      []string // abandoned workers that have not returned
}

// Outage is how the last outage went, for status and metrics.
type Outage struct {
	At     time.Time     // when it was noticed
	Silent time.Duration // how long nothing had arrived when it was noticed
	Lasted time.Duration // until LIVE again; 0 while it lasts
	Cause  redisconn.Cause
}
