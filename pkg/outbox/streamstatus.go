package outbox

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"framekeeper/pkg/redisconn"
)

// accepted notes that Redis accepts frames (again). That the stream can be read
// proves nothing while a frame is rejected: reading works under OOM too.
func (w *StreamWriter) accepted() {
	if w.state.rejected {
		return
	}
	w.state.oomSince = time.Time{}
	w.frames.setWritable(true)
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.status.Writable {
		w.cfg.Log.Info().Str("cause", string(w.status.Cause)).Msg("Redis accepts frames again")
	}
	w.status.Writable, w.status.Conflict, w.status.Cause, w.status.Reason = true, false, "", ""
}

// rejected notes that Redis does not accept frames, and logs it once per cause.
func (w *StreamWriter) rejected(cause redisconn.Cause, reason string) {
	w.frames.setWritable(false)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.status.Writable || w.status.Cause != cause {
		w.cfg.Log.Error().Str("cause", string(cause)).Str("stream", w.cfg.Key).Str("reason", reason).
			Msg("Redis does not accept frames; they wait in the log")
	}
	w.status.Writable, w.status.Conflict = false, cause == CauseConflict
	w.status.Cause, w.status.Reason = cause, reason
}

// vanished is how long to wait before a stream that disappeared is seeded again.
// More than once within a minute means that Redis evicts it.
func (w *StreamWriter) vanished() time.Duration {
	w.frames.setWritable(false) // until it exists again frames go to disk
	again := !w.state.vanishedAt.IsZero() && time.Since(w.state.vanishedAt) < time.Minute+w.state.vanishWait
	w.state.vanishedAt = time.Now()
	if !again {
		w.state.vanishWait = vanishMin
		w.cfg.Log.Warn().Str("stream", w.cfg.Key).Msg("The stream vanished; retained frames are added again")
	} else {
		w.state.vanishWait = min(2*w.state.vanishWait, vanishMax)
		w.rejected(CauseEvicted, "the stream vanishes again and again: if Redis evicts it, set maxmemory-policy noeviction")
	}
	w.mu.Lock()
	w.status.Vanished++
	w.mu.Unlock()
	return w.state.vanishWait
}

// makeRoom halves our own stream when memory has been short for a while: under
// OOM even an XADD that trims is refused, so it would never recover alone.
func (w *StreamWriter) makeRoom(ctx context.Context, conn *redis.Conn, cause redisconn.Cause) {
	if cause != redisconn.CauseOOM {
		return
	}
	if w.state.oomSince.IsZero() {
		w.state.oomSince = time.Now()
	}
	if time.Since(w.state.oomSince) < w.patience {
		return
	}
	w.state.oomSince = time.Now()
	n, err := conn.XLen(ctx, w.cfg.Key).Result()
	if err != nil || n < 2 {
		return
	}
	cut, err := conn.XTrimMaxLen(ctx, w.cfg.Key, n/2).Result()
	if err != nil {
		return
	}
	w.mu.Lock()
	w.status.Trimmed++
	w.mu.Unlock()
	w.cfg.Log.Warn().Str("stream", w.cfg.Key).Int64("entries", cut).
		Msg("Redis is out of memory; the agent trimmed its own stream by half")
}
