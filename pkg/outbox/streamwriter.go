package outbox

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"framekeeper/pkg/frame"
	"framekeeper/pkg/redisconn"

	"framekeeper/pkg/datatransfer"
)

const (
	batchItems = 16
	batchBytes = 1 << 20

	refusedWait = time.Second      // before a refused frame is tried again
	oomPatience = 10 * time.Second // before our own stream is trimmed to make room
	vanishMin   = time.Second      // wait before a vanished stream is seeded again
	vanishMax   = time.Minute
)

// StreamWriterConfig says which stream an StreamWriter keeps.
type StreamWriterConfig struct {
	Key      string
	Camera   string // for the headers of entries that declare a loss
	MaxBytes int64  // the stream's bound
	Clock    *frame.Clock
	Log      zerolog.Logger
}

// StreamWriter keeps a camera's stream equal to the outbox: every entry once, in ID
// order, with its explicit ID, through one connection.
type StreamWriter struct {
	cfg      StreamWriterConfig
	outbox   *Log
	patience time.Duration // before our own stream is trimmed to make room

	// Only the link's goroutines use these, one at a time.
	state    appendState
	admitted bool // the stream was looked at once

	mu     sync.Mutex // guards status
	status StreamStatus
}

// StreamStatus says whether Redis takes frames, and if not, why.
type StreamStatus struct {
	Writable bool            `json:"writable"`
	Cause    redisconn.Cause `json:"cause,omitempty"`
	Reason   string          `json:"reason,omitempty"` // with what to do about it
	Conflict bool            `json:"conflict,omitempty"`
	Vanished uint64          `json:"vanished,omitempty"` // times the stream disappeared under a live session
	Trimmed  uint64          `json:"trimmed,omitempty"`  // times it was halved to make room
}

// appendState is what the worker knows of the stream.
type appendState struct {
	begin      bool // "started" is still to be added
	create     bool // the stream does not exist: the next entry makes it
	mean       float64
	held       bool // a frame was not taken, and none was since
	oomSince   time.Time
	vanishedAt time.Time
	vanishWait time.Duration
}

// Causes only the appender can see.
const (
	CauseConflict redisconn.Cause = "conflict"
	CauseEvicted  redisconn.Cause = "stream vanished"
)

// errConflict says that somebody else writes the stream.
var errConflict = errors.New("the stream holds entries this agent did not write")

// NewStreamWriter prepares the appender of one stream.
func NewStreamWriter(cfg StreamWriterConfig, o *Log) *StreamWriter {
	return &StreamWriter{cfg: cfg, outbox: o, patience: oomPatience, status: StreamStatus{Writable: true}}
}

// Status says whether Redis takes frames.
func (a *StreamWriter) Status() StreamStatus {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.status
}

// Worker drains the outbox into the stream.
func (a *StreamWriter) Worker() datatransfer.Worker {
	return datatransfer.Worker{Name: "add frames", Run: a.run}
}

func (a *StreamWriter) run(ctx context.Context, s *datatransfer.Session) error {
	conn := s.Data().Conn() // one connection: two could overtake each other
	defer func() { _ = conn.Close() }()
	defer a.outbox.block(true)
	if err := a.retry(ctx, conn, a.align); err != nil {
		return err
	}
	for ctx.Err() == nil { // retry returns nil when ctx has ended, with items still waiting
		items := a.outbox.batch(batchItems, batchBytes)
		if len(items) == 0 && !a.state.begin {
			select {
			case <-a.outbox.wake:
				continue
			case <-ctx.Done():
				return nil
			}
		}
		err := a.outbox.sending(s, func() error {
			return a.retry(ctx, conn, func(ctx context.Context, conn *redis.Conn) error {
				return a.send(ctx, conn, items)
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// retry does one step, and meets what is not the session's end: a refusal is
// told once and tried again, a foreign writer and a vanished stream are looked
// at anew. The caller then takes a fresh batch.
func (a *StreamWriter) retry(ctx context.Context, conn *redis.Conn, step func(context.Context, *redis.Conn) error) error {
	for {
		err := step(ctx, conn)
		if err == nil {
			a.accepted()
			return nil
		}
		if ctx.Err() != nil {
			return nil
		}
		wait := refusedWait
		switch {
		case errors.Is(err, errVanished):
			wait = a.vanished()
		case errors.Is(err, errConflict):
			a.refused(CauseConflict, err.Error()+": end the other writer, or DEL "+a.cfg.Key+" if its entries are not needed")
		case redisconn.EndsSession(err):
			return err
		default:
			cause := redisconn.CauseOf(err)
			a.refused(cause, strings.TrimSpace(err.Error()+"; "+cause.Advice()))
			a.makeRoom(ctx, conn, cause)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil
		}
		step = a.align
	}
}

// align compares the stream's end with what the outbox has sent, once per
// session and after every surprise.
func (a *StreamWriter) align(ctx context.Context, conn *redis.Conn) error {
	last, exists, err := a.last(ctx, conn)
	if err != nil {
		return err
	}
	epoch, newest := a.outbox.Epoch(), a.newest()
	switch {
	case last.Epoch > epoch, last.Epoch == epoch && newest.Less(last):
		return fmt.Errorf("%w (its last ID is %s, ours %s)", errConflict, last, newest)
	case last.Epoch == epoch:
		a.state.begin, a.state.create = false, false
	default:
		a.state.begin, a.state.create = true, !exists
	}
	if again := a.outbox.resume(last); again > 0 {
		a.cfg.Log.Warn().Int("frames", again).Stringer("after", last).Msg("Redis had lost frames, adding them again")
	}
	return nil
}

// newest is the last ID that may stand in the stream.
func (a *StreamWriter) newest() frame.ID {
	if id := a.outbox.Stats().Newest; !id.IsZero() {
		return id
	}
	return frame.ID{Epoch: a.outbox.Epoch()} // "started"
}

// last is the ID of the stream's last entry; when it has none, the ID it would
// refuse to go below.
func (a *StreamWriter) last(ctx context.Context, conn *redis.Conn) (id frame.ID, exists bool, err error) {
	id, err = redisconn.LastID(ctx, conn, a.cfg.Key, "+")
	if err != nil || !id.IsZero() {
		return id, err == nil, err
	}
	info, err := conn.XInfoStream(ctx, a.cfg.Key).Result()
	if err == nil {
		id, err = frame.ParseID(info.LastGeneratedID)
		return id, true, err
	}
	if redisconn.IsReply(err) { // no such key; a denied command is as good as that
		return id, false, nil
	}
	return id, false, fmt.Errorf("read %s: %w", a.cfg.Key, err)
}

// accepted notes that Redis takes frames (again). That the stream can be looked
// at proves nothing while a frame is held: reading works under OOM too.
func (a *StreamWriter) accepted() {
	if a.state.held {
		return
	}
	a.state.oomSince = time.Time{}
	a.outbox.block(false)
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.status.Writable {
		a.cfg.Log.Info().Str("cause", string(a.status.Cause)).Msg("Redis takes frames again")
	}
	a.status.Writable, a.status.Conflict, a.status.Cause, a.status.Reason = true, false, "", ""
}

// refused notes that Redis does not take frames, and says so once per cause.
func (a *StreamWriter) refused(cause redisconn.Cause, reason string) {
	a.outbox.block(true)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.status.Writable || a.status.Cause != cause {
		a.cfg.Log.Error().Str("cause", string(cause)).Str("stream", a.cfg.Key).Str("reason", reason).
			Msg("Redis takes no frames, holding them")
	}
	a.status.Writable, a.status.Conflict = false, cause == CauseConflict
	a.status.Cause, a.status.Reason = cause, reason
}

// vanished says how long to wait before a stream that disappeared is seeded
// again. Again and again within a minute means that Redis evicts it.
func (a *StreamWriter) vanished() time.Duration {
	a.outbox.block(true) // until it is there again frames go to disk
	again := !a.state.vanishedAt.IsZero() && time.Since(a.state.vanishedAt) < time.Minute+a.state.vanishWait
	a.state.vanishedAt = time.Now()
	if !again {
		a.state.vanishWait = vanishMin
		a.cfg.Log.Warn().Str("stream", a.cfg.Key).Msg("the stream vanished, adding again what is held")
	} else {
		a.state.vanishWait = min(2*a.state.vanishWait, vanishMax)
		a.refused(CauseEvicted, "the stream keeps vanishing: if Redis evicts it, use maxmemory-policy noeviction")
	}
	a.mu.Lock()
	a.status.Vanished++
	a.mu.Unlock()
	return a.state.vanishWait
}

// makeRoom halves our own stream when memory has been short for a while: under
// OOM even an XADD that trims is refused, so it would never recover alone.
func (a *StreamWriter) makeRoom(ctx context.Context, conn *redis.Conn, cause redisconn.Cause) {
	if cause != redisconn.CauseOOM {
		return
	}
	if a.state.oomSince.IsZero() {
		a.state.oomSince = time.Now()
	}
	if time.Since(a.state.oomSince) < a.patience {
		return
	}
	a.state.oomSince = time.Now()
	n, err := conn.XLen(ctx, a.cfg.Key).Result()
	if err != nil || n < 2 {
		return
	}
	cut, err := conn.XTrimMaxLen(ctx, a.cfg.Key, n/2).Result()
	if err != nil {
		return
	}
	a.mu.Lock()
	a.status.Trimmed++
	a.mu.Unlock()
	a.cfg.Log.Warn().Str("stream", a.cfg.Key).Int64("entries", cut).
		Msg("Redis is out of memory, trimmed our own stream by half")
}
