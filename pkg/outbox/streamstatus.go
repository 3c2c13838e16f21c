package outbox

import (
	"context"
	"time"

	"framekeeper/pkg/redisconn"
)

// accepted notes that Redis accepts frames (again). That the stream can be read
// proves nothing while a frame is rejected: reading works under OOM too.
func (w *StreamWriter) accepted() {
	if w.rejected {
		return
	}
	w.oomSince = time.Time{}
	w.frames.setWritable(true)
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.status.Writable {
		w.cfg.Log.Info().Str("cause", string(w.status.Cause)).Msg("Redis accepts frames again")
	}
	w.status.Writable, w.status.Conflict, w.status.Cause, w.status.Reason = true, false, "", ""
}

// reject notes that Redis does not accept frames, and logs it once per cause.
func (w *StreamWriter) reject(cause redisconn.Cause, reason string) {
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
	again := !w.vanishedAt.IsZero() && w.cfg.Now().Sub(w.vanishedAt) < time.Minute+w.vanishWait
	w.vanishedAt = w.cfg.Now()
	if !again {
		w.vanishWait = vanishMin
		w.cfg.Log.Warn().Str("stream", w.cfg.Key).Msg("The stream vanished; retained frames are added again")
	} else {
		w.vanishWait = min(2*w.vanishWait, vanishMax)
		w.reject(CauseEvicted, "the stream vanishes again and again: if Redis evicts it, set maxmemory-policy noeviction")
	}
	w.mu.Lock()
	w.status.Vanished++
	w.mu.Unlock()
	return w.vanishWait
}

// makeRoom halves our own stream when memory has been short for a while: under
// OOM even an XADD that trims is refused, so it would never recover alone.
func (w *StreamWriter) makeRoom(ctx context.Context, r streamConn, cause redisconn.Cause) {
	if cause != redisconn.CauseOOM {
		return
	}
	if w.oomSince.IsZero() {
		w.oomSince = w.cfg.Now()
	}
	if w.cfg.Now().Sub(w.oomSince) < w.patience {
		return
	}
	w.oomSince = w.cfg.Now()
	floor := w.frames.halfBound()
	if floor.IsZero() {
		return
	}
	cut, err := r.Trim(ctx, floor)
	if err != nil {
		return
	}
	w.frames.trimmed(floor)
	w.mu.Lock()
	w.status.Trimmed++
	w.mu.Unlock()
	w.cfg.Log.Warn().Str("stream", w.cfg.Key).Int64("entries", cut).
		Msg("Redis is out of memory; the agent trimmed its own stream by half")
}

// checkMemory complains, once, about a stream that does not become smaller by being
// trimmed. Redis frees an entry with its node, which stream-node-max-bytes 0 makes
// endless.
func (w *StreamWriter) checkMemory(ctx context.Context, r streamConn, added int64) {
	const slack = 4 << 20
	limit := w.frames.cfg.Stream
	measure, can := r.(interface {
		Memory(ctx context.Context) (int64, error)
	})
	if w.unchecked += added; !can || w.oversized || w.unchecked < limit {
		return
	}
	w.unchecked = 0
	bytes, err := measure.Memory(ctx)
	w.oversized = err != nil || bytes >= 2*limit+slack
	if err != nil || !w.oversized { // or it is not permitted to ask, and is not asked again
		return
	}
	w.cfg.Log.Warn().Str("stream", w.cfg.Key).Int64("bytes", bytes).Int64("stream_max_bytes", limit).
		Msg("The stream takes far more memory than its entries: this Redis does not free what is trimmed; set stream-node-max-bytes and stream-node-max-entries to their defaults")
}
