package camera

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"time"
)

// errAbandoned ends the reading of a source that the watchdog has abandoned.
var errAbandoned = errors.New("source abandoned")

// acquisition is one opening of the source, until it is closed again. The
// Grabber's mu guards its fields.
type acquisition struct {
	ready      chan struct{} // closed when the source is open
	started    time.Time
	opened     time.Time     // zero until then
	stallAfter time.Duration // without a frame
	lastFrame  time.Time
	lastChange time.Time // last new frame: one that differed from the one before, with frozen_timeout
	nextSeq    uint64    // Seq of the next frame if none is skipped; 0: no frame yet
	fresh      bool      // it gave a new frame
	abandoned  bool      // nothing it still delivers counts
}

// yield is for how long the acquisition gave new frames, 0 if it gave none.
func (a *acquisition) yield() time.Duration {
	if !a.fresh {
		return 0
	}
	return max(a.lastChange.Sub(a.opened), 1)
}

// read opens, drains and closes the source. It runs in the one goroutine that
// touches it.
func (g *Grabber) read(ctx context.Context, a *acquisition) error {
	shown := RedactSource(g.cfg.Source)
	src, err := g.opener(ctx, g.currentConfig())
	if err != nil {
		return fmt.Errorf("open %s: %w", shown, err)
	}
	g.opened(a, src.Info())
	defects, _ := src.(DefectCounter)
	g.setDefects(defects)
	err = g.drain(ctx, a, src)
	if cerr := src.Close(); cerr != nil {
		err = errors.Join(err, fmt.Errorf("close: %w", cerr))
	}
	g.setDefects(nil)
	return fmt.Errorf("read %s: %w", shown, err)
}

// opened records what the source turned out to deliver.
func (g *Grabber) opened(a *acquisition, info Info) {
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	if a.abandoned {
		return
	}
	a.opened, a.lastFrame, a.lastChange = now, now, now
	a.stallAfter = max(a.stallAfter, twoFrames(info.FPS))
	close(a.ready)
	g.latency.Store(int64(info.Latency))
	g.health.Info = info
	g.rate.reset()
}

func (g *Grabber) drain(ctx context.Context, a *acquisition, src Source) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		g.applyControls(src)
		f := g.pool.get()
		if err := src.Next(ctx, f); err != nil {
			f.Release()
			return err
		}
		if err := g.deliver(a, f); err != nil {
			return err
		}
	}
}

// deliver makes f the newest frame. The caller's reference passes to it.
func (g *Grabber) deliver(a *acquisition, f *Frame) error {
	now := time.Now()
	if f.Captured.IsZero() {
		f.Captured = now
	}
	var sum uint64
	if g.cfg.FrozenTimeout > 0 {
		sum = maphash.Bytes(g.seed, f.Data)
	}

	g.mu.Lock()
	if a.abandoned {
		g.mu.Unlock()
		f.Release()
		return errAbandoned
	}
	if !g.count(a, f, sum, now) {
		g.mu.Unlock()
		f.Release()
		return nil
	}
	previous := g.latest
	g.latest = f
	g.health.Frames++
	g.rate.add(now)
	before, down := g.health.State, now.Sub(g.downSince)
	if before != StateOK {
		g.health.State, g.health.Reason, g.downSince = StateOK, "", time.Time{}
		g.health.Info.Width, g.health.Info.Height, g.health.Info.Format = f.Width, f.Height, f.Format
	}
	if g.arrival != nil {
		close(g.arrival)
		g.arrival = nil
	}
	info, logged := g.health.Info, before == StateOpening || g.lossLogged
	g.mu.Unlock()

	if previous != nil {
		previous.Release()
	}
	g.updates.Call()
	if before != StateOK {
		g.changed.Call()
		if logged {
			g.logRecovery(before, info, down)
		}
	}
	return nil
}

// count records a frame's arrival and reports whether it may be handed out.
// A camera found frozen that comes back with the image it was frozen at has
// made no exposure; such a frame answers no request. The caller holds mu.
func (g *Grabber) count(a *acquisition, f *Frame, sum uint64, now time.Time) bool {
	if a.nextSeq > 0 && f.Seq > a.nextSeq {
		g.health.Skipped += f.Seq - a.nextSeq
	}
	a.nextSeq = f.Seq + 1
	a.lastFrame = now
	if g.cfg.FrozenTimeout > 0 && g.haveSum && sum == g.lastSum {
		return g.health.State == StateOK
	}
	g.lastSum, g.haveSum = sum, true
	a.lastChange, a.fresh = now, true
	g.health.LastFrame = now
	return true
}

func (g *Grabber) logRecovery(before State, info Info, down time.Duration) {
	e := g.log.Info().Str("source", RedactSource(g.cfg.Source)).Str("driver", info.Driver).
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
