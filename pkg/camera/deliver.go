package camera

import (
	"hash/maphash"
	"time"
)

// deliver makes f the newest frame. It takes over the caller's reference.
func (l *life) deliver(f *Frame) error {
	g, now := l.g, time.Now()
	if f.Captured.IsZero() {
		f.Captured = now
	}
	var sum uint64
	if g.cfg.FrozenTimeout > 0 {
		sum = maphash.Bytes(g.seed, f.Data)
	}

	g.mu.Lock()
	if l.abandoned {
		g.mu.Unlock()
		f.Release()
		return errAbandoned
	}
	unwanted := f
	if l.count(f, sum, now) {
		unwanted, g.latest = g.latest, f
		g.health.Frames++
		g.rate.add(now)
	}
	before, downFrom := g.health.State, g.downFrom
	if unwanted != f && before != StateOK {
		g.health.State, g.health.Reason, g.downFrom = StateOK, "", time.Time{}
		g.health.Info.Width, g.health.Info.Height, g.health.Info.Format = f.Width, f.Height, f.Format
	}
	info, loud := g.health.Info, before == StateOpening || g.loud
	g.mu.Unlock()

	if unwanted != nil {
		unwanted.Release()
	}
	if unwanted == f {
		return nil
	}
	notify(g.updates)
	if before != StateOK {
		g.recovered(before, loud, info, now.Sub(downFrom))
	}
	return nil
}

// count takes note of a frame's arrival and says whether it may be handed out.
// A camera found frozen that comes back with the image it was frozen at has
// made no exposure; such a frame answers no request. The caller holds mu.
func (l *life) count(f *Frame, sum uint64, now time.Time) bool {
	g := l.g
	if l.counted && f.Seq > l.lastSeq+1 {
		g.health.Skipped += f.Seq - l.lastSeq - 1
	}
	l.lastSeq, l.counted = f.Seq, true
	l.lastFrame = now
	if g.cfg.FrozenTimeout > 0 && g.haveSum && sum == g.lastSum {
		return g.health.State == StateOK
	}
	g.lastSum, g.haveSum = sum, true
	l.lastChange, l.fresh = now, true
	g.health.LastFrame = now
	return true
}

// recovered reports the first frame of a life that may be handed out.
func (g *Grabber) recovered(before State, loud bool, info Info, down time.Duration) {
	notify(g.changed)
	if !loud {
		return
	}
	e := g.log.Info().Str("source", ShownSource(g.cfg.Source)).Str("driver", info.Driver).
		Int("width", info.Width).Int("height", info.Height).Stringer("format", info.Format)
	if info.FPS > 0 {
		e.Float64("fps", info.FPS)
	}
	if info.Note != "" {
		e.Str("note", info.Note)
	}
	if before == StateOpening {
		e.Msg("Camera opened")
		return
	}
	e.Int64("down_ms", down.Milliseconds()).Msg("Camera is back")
}
