package datatransfer

import (
	"time"

	"github.com/rs/zerolog"

	"framekeeper/pkg/redisconn"
)

// The messages operators watch for, word for word those of the old system.
const (
	msgLost         = "Redis connection lost, attempting reconnection..."
	msgAttempting   = "Attempting to reconnect to Redis..."
	msgNoSubscribe  = "Redis connected but pubsub subscription failed, retrying..."
	msgReconnected  = "Reconnected to Redis successfully and re-subscribed to channels."
	msgConnected    = "Connected to Redis and subscribed to channels."
	msgNotReachable = "Redis is not reachable yet, trying until it is."
	msgStillDown    = "Redis is still not reachable, now for another reason."
)

// settleTime is how long a session must be LIVE before Redis refusing it again
// for the same reason is a new outage.
const settleTime = time.Second

// outage logs each thing that happens during an outage once, and counts how
// often it happened. Only the link's own goroutine uses it.
type outage struct {
	log       zerolog.Logger
	everLive  bool
	on        bool
	since     time.Time
	attempted bool
	seen      map[redisconn.Cause]int // sessions that ended, by cause

	// A replica, or a server that loads its data, lets each session become
	// LIVE and refuses its first write: one outage, not seven a second.
	liveAt   time.Time // of the latest session that was LIVE
	flapping bool      // the outage's end is logged when a session lasts
}

func newOutage(log zerolog.Logger) outage {
	return outage{log: log, seen: map[redisconn.Cause]int{}}
}

// noticed is called with each session that ended.
func (o *outage) noticed(end ending, st LinkStatus, shown string, now time.Time) {
	first := !o.on
	switch {
	case !first:
	case o.seen[st.Cause] > 0 && redisconn.IsReply(end.err) && now.Sub(o.liveAt) < settleTime:
		o.on, o.flapping = true, true
	default:
		o.on, o.since, o.attempted = true, now, false
		clear(o.seen)
	}
	o.seen[st.Cause]++
	if o.seen[st.Cause] > 1 {
		return
	}
	e := o.log.Warn().Str("redis", shown).Str("cause", string(st.Cause)).Str(zerolog.ErrorFieldName, st.Detail)
	if a := st.Cause.Advice(); a != "" {
		e = e.Str("advice", a)
	}
	switch {
	case end.wasLive:
		e.Dur("silent_ms", end.silent.Round(time.Millisecond)).Msg(msgLost)
	case end.connected:
		e.Int("attempts", st.Attempts).Msg(msgNoSubscribe)
	case first:
		e.Msg(msgNotReachable)
	default:
		e.Int("attempts", st.Attempts).Msg(msgStillDown)
	}
}

// attempting is called before each new session of an outage.
func (o *outage) attempting(st LinkStatus) {
	if o.attempted {
		return
	}
	o.attempted = true
	o.log.Info().Str("cause", string(st.Cause)).Msg(msgAttempting)
}

// over is called when a session is LIVE; st is still the status before it.
func (o *outage) over(st LinkStatus, now time.Time) {
	o.liveAt = now
	switch {
	case o.flapping:
		return
	case !o.on:
		o.log.Info().Msg(msgConnected)
	case !o.everLive:
		o.log.Info().Dur("after_ms", now.Sub(o.since).Round(time.Millisecond)).Int("attempts", st.Attempts).Msg(msgConnected)
	default:
		o.log.Info().Str("cause", string(st.LastOutage.Cause)).Dur("lasted_ms", now.Sub(o.since).Round(time.Millisecond)).
			Int("attempts", st.Attempts).Msg(msgReconnected)
	}
	o.everLive, o.on = true, false
}

// settled is called with each probe that came back to a LIVE session.
func (o *outage) settled(st LinkStatus, now time.Time) {
	if !o.flapping || now.Sub(o.liveAt) < settleTime {
		return
	}
	attempts := 0
	for _, n := range o.seen {
		attempts += n
	}
	o.log.Info().Str("cause", string(st.LastOutage.Cause)).Dur("lasted_ms", o.liveAt.Sub(o.since).Round(time.Millisecond)).
		Int("attempts", attempts).Msg(msgReconnected)
	o.on, o.flapping = false, false
}

// tooLargePause is how long no further value that is too large is logged.
const tooLargePause = time.Minute

// tooLarge is called with each value that was longer than can be used here, and has
// come as an empty one.
func (l *Link) tooLarge(size, limit int64) {
	l.mu.Lock()
	l.status.TooLarge++
	count, now := l.status.TooLarge, time.Now()
	log := now.Sub(l.largeAt) >= tooLargePause
	if log {
		l.largeAt = now
	}
	l.mu.Unlock()
	if log {
		l.cfg.Log.Warn().Int64("bytes", size).Int64("limit", limit).Uint64("values", count).
			Msg("A value in Redis is too large and is left out")
	}
}

// noteEcho is called with whether Redis permits ECHO to a new session.
func (l *Link) noteEcho(permitted bool) {
	if !permitted && !l.noEcho {
		l.cfg.Log.Info().Str("advice", "give the user +echo").Dur("io_timeout_ms", l.cfg.Redis.IOTimeout).
			Msg("Redis does not permit ECHO: an answer that is lost on its way is noticed after io_timeout, and not sooner")
	}
	l.noEcho = !permitted
}

// denied is called with each command that Redis does not permit.
func (l *Link) denied(command string, err error) {
	feature, optional := l.cfg.Optional[command]
	l.mu.Lock()
	known := l.lacking[command]
	if optional && !known {
		l.lacking[command] = true
	}
	l.mu.Unlock()
	if optional && !known {
		l.cfg.Log.Warn().Err(err).Str("right", "+"+command).Str("feature", feature).
			Msg("Redis does not permit a command: the feature that needs it is off")
	}
}
