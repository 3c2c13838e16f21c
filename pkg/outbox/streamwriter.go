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

	refusedWait = time.Second      // before a refused frame is sent again
	oomPatience = 10 * time.Second // before our own stream is trimmed to make room
	vanishMin   = time.Second      // wait before a vanished stream is seeded again
	vanishMax   = time.Minute
)

// StreamWriterConfig says which stream a StreamWriter writes.
type StreamWriterConfig struct {
	Key      string
	Camera   string // for the headers of declarations
	MaxBytes int64  // the stream's bound
	Clock    *frame.Clock
	Log      zerolog.Logger
}

// StreamWriter makes a camera's stream equal to the log: every entry once, in ID
// order, with its explicit ID, through one connection.
type StreamWriter struct {
	cfg      StreamWriterConfig
	frames   *Log
	patience time.Duration // before our own stream is trimmed to make room

	// Only the link's goroutines use these, one at a time.
	state    streamState
	admitted bool // the stream's end was compared with the log once

	mu     sync.Mutex // guards status
	status StreamStatus
}

// StreamStatus says whether Redis accepts frames, and if not, why.
type StreamStatus struct {
	Writable bool            `json:"writable"`
	Cause    redisconn.Cause `json:"cause,omitempty"`
	Reason   string          `json:"reason,omitempty"` // with what to do about it
	Conflict bool            `json:"conflict,omitempty"`
	Vanished uint64          `json:"vanished,omitempty"` // times the stream disappeared under a live session
	Trimmed  uint64          `json:"trimmed,omitempty"`  // times it was halved to make room
}

// streamState is the state of the stream as the worker has seen it.
type streamState struct {
	begin      bool    // "started" is still to be added
	create     bool    // the stream does not exist: the next entry makes it
	mean       float64 // size of a frame
	rejected   bool    // a frame was not accepted, and none was since
	oomSince   time.Time
	vanishedAt time.Time
	vanishWait time.Duration
}

// Causes that only the writer of a stream can find.
const (
	CauseConflict redisconn.Cause = "conflict"
	CauseEvicted  redisconn.Cause = "stream vanished"
)

var (
	errConflict = errors.New("the stream has entries that this agent did not write") // somebody else writes there
	errVanished = errors.New("the stream vanished")                                  // under a live session
)

// NewStreamWriter prepares the writer of one stream.
func NewStreamWriter(cfg StreamWriterConfig, frames *Log) *StreamWriter {
	return &StreamWriter{cfg: cfg, frames: frames, patience: oomPatience, status: StreamStatus{Writable: true}}
}

// Status reports whether Redis accepts frames.
func (w *StreamWriter) Status() StreamStatus {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.status
}

// Worker adds what is unsent to the stream.
func (w *StreamWriter) Worker() datatransfer.Worker {
	return datatransfer.Worker{Name: "add frames", Run: w.run}
}

func (w *StreamWriter) run(ctx context.Context, s *datatransfer.Session) error {
	conn := s.Data().Conn() // one connection: entries of two could overtake each other
	defer func() { _ = conn.Close() }()
	defer w.frames.setWritable(false)
	if err := w.retry(ctx, conn, w.align); err != nil {
		return err
	}
	for ctx.Err() == nil { // retry returns nil when ctx has ended, with items still unsent
		items := w.frames.batch(batchItems, batchBytes)
		if len(items) == 0 && !w.state.begin {
			await(ctx, w.frames.sendable)
			continue
		}
		err := w.frames.watched(s, func() error {
			return w.retry(ctx, conn, func(ctx context.Context, conn *redis.Conn) error {
				return w.send(ctx, conn, items)
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// retry does one step, and handles what is not the session's end: a refusal is
// logged once; after that, a foreign writer and a vanished stream, the stream's end is
// compared with the log again. The caller then takes a new batch.
func (w *StreamWriter) retry(ctx context.Context, conn *redis.Conn, step func(context.Context, *redis.Conn) error) error {
	for {
		err := step(ctx, conn)
		if err == nil {
			w.accepted()
			return nil
		}
		if ctx.Err() != nil {
			return nil
		}
		wait := refusedWait
		switch {
		case errors.Is(err, errVanished):
			wait = w.vanished()
		case errors.Is(err, errConflict):
			w.rejected(CauseConflict, err.Error()+": end the other writer, or DEL "+w.cfg.Key+" if its entries are not needed")
		case redisconn.EndsSession(err):
			return err
		default:
			cause := redisconn.CauseOf(err)
			w.rejected(cause, strings.TrimSpace(err.Error()+"; "+cause.Advice()))
			w.makeRoom(ctx, conn, cause)
		}
		if !pause(ctx, wait) {
			return nil
		}
		step = w.align
	}
}

// align compares the stream's end with what the log has sent, once per session and
// after everything unexpected.
func (w *StreamWriter) align(ctx context.Context, conn *redis.Conn) error {
	last, exists, err := w.lastID(ctx, conn)
	if err != nil {
		return err
	}
	epoch, newest := w.frames.Epoch(), w.newest()
	switch {
	case last.Epoch > epoch, last.Epoch == epoch && newest.Less(last):
		return fmt.Errorf("%w (its last ID is %s, ours %s)", errConflict, last, newest)
	case last.Epoch == epoch:
		w.state.begin, w.state.create = false, false
	default:
		w.state.begin, w.state.create = true, !exists
	}
	if again := w.frames.resume(last); again > 0 {
		w.cfg.Log.Warn().Int("frames", again).Stringer("after", last).Msg("Redis lost frames; they are added again")
	}
	return nil
}

// newest is the last ID that may stand in the stream.
func (w *StreamWriter) newest() frame.ID {
	if id := w.frames.Stats().Newest; !id.IsZero() {
		return id
	}
	return frame.ID{Epoch: w.frames.Epoch()} // "started"
}

// lastID is the ID of the stream's last entry; when it has none, the ID below which
// it accepts none.
func (w *StreamWriter) lastID(ctx context.Context, conn *redis.Conn) (id frame.ID, exists bool, err error) {
	id, err = redisconn.LastID(ctx, conn, w.cfg.Key, "+")
	if err != nil || !id.IsZero() {
		return id, err == nil, err
	}
	info, err := conn.XInfoStream(ctx, w.cfg.Key).Result()
	if err == nil {
		id, err = frame.ParseID(info.LastGeneratedID)
		return id, true, err
	}
	if redisconn.IsReply(err) { // no such key; a denied command is as good as that
		return id, false, nil
	}
	return id, false, fmt.Errorf("read %s: %w", w.cfg.Key, err)
}
