package outbox

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/redisconn"
)

const (
	batchItems = 16
	batchBytes = 1 << 19 // with MULTI and all, below the least client-query-buffer-limit

	refusedWait = time.Second      // before a refused frame is sent again
	oomPatience = 10 * time.Second // before our own stream is trimmed to make room
	vanishMin   = time.Second      // wait before a vanished stream is seeded again
	vanishMax   = time.Minute
)

// StreamWriterConfig says which stream a StreamWriter writes.
type StreamWriterConfig struct {
	Key     string
	Ceiling *Ceiling         // nil: frames of every size are sent
	Now     func() time.Time // nil: time.Now
	Log     zerolog.Logger
}

// StreamWriter makes a camera's stream equal to the log: every entry once, in ID
// order, with its explicit ID, through one connection, and no larger than the log's
// bound.
type StreamWriter struct {
	cfg      StreamWriterConfig
	frames   *Log
	patience time.Duration // before our own stream is trimmed to make room

	// Only the link's goroutines use these, one at a time.
	admitted   bool  // the stream's end was compared with the log once
	aligned    bool  // and since then nothing unexpected has happened
	create     bool  // the stream does not exist: the next entry makes it
	singly     bool  // Redis refused a batch: the next ones show which entry it was
	rejected   bool  // a frame was not accepted, and none was since
	surveyed   bool  // the entries of earlier starts are known
	unchecked  int64 // bytes that replaced others since the stream's memory was looked at
	oversized  bool  // that is too much, and was logged
	oomSince   time.Time
	vanishedAt time.Time
	vanishWait time.Duration

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

// NewStreamWriter prepares the writer of one stream.
func NewStreamWriter(cfg StreamWriterConfig, frames *Log) *StreamWriter {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
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
	conn := &redisStream{conn: s.Data().Conn(), key: w.cfg.Key}
	defer conn.close()
	defer w.end()
	w.begin()
	return drive(ctx, w.frames.sendable, w.frames.watched(s.Acked, func() (time.Duration, error) { return w.step(ctx, conn, sizeTest(s)) }))
}

// begin begins a session.
func (w *StreamWriter) begin() {
	w.cfg.Ceiling.sessionBegins()
	w.aligned = false
}

// end ends a session.
func (w *StreamWriter) end() { w.frames.setWritable(false) }

// step compares the stream's end with the log, once per session and after everything
// unexpected, or adds one batch. It returns how long to wait before the next; idle:
// until there is something to send. An error ends the session; what does not is
// logged once.
func (w *StreamWriter) step(ctx context.Context, r streamConn, test sizeTester) (wait time.Duration, err error) {
	if !w.aligned {
		if err := w.align(ctx, r); err != nil {
			return w.handle(ctx, r, err)
		}
		w.aligned = true
		w.accepted()
	}
	b, wait := beginBatch(w.frames, w.cfg.Ceiling, w.singly)
	if b == nil {
		return wait, nil
	}
	defer b.fail()
	total, largest := b.sizes()
	if fits, err := w.cfg.Ceiling.fits(ctx, total, test); err != nil || !fits {
		return 0, err // the next batch is smaller, or leaves it out
	}
	if err := r.Add(ctx, b.entries, b.floor, w.create); err != nil {
		w.rejected = true
		w.cfg.Ceiling.failed(ctx, total, err)
		if w.singly = len(b.entries) > 1; w.singly && redisconn.IsReply(err) && !redisconn.EndsSession(err) {
			return 0, nil // one entry alone shows the reason
		}
		return w.handle(ctx, r, err)
	}
	w.rejected, w.create, w.singly = false, false, false
	trims := !b.floor.IsZero()
	added := b.commit(len(b.entries))
	if trims {
		w.checkMemory(ctx, r, added)
	}
	w.cfg.Ceiling.passed(largest)
	w.accepted()
	return 0, nil
}

// handle decides what follows from an error: the session's end, or another look at
// the stream after a while.
func (w *StreamWriter) handle(ctx context.Context, r streamConn, err error) (time.Duration, error) {
	w.aligned = false
	switch {
	case ctx.Err() != nil:
		return 0, err
	case errors.Is(err, errVanished):
		return w.vanished(), nil
	case errors.Is(err, errNotAbove): // a lost reply, or another writer: align finds out
		return 0, nil
	case errors.Is(err, errConflict):
		w.reject(CauseConflict, err.Error()+": end the other writer, or DEL "+w.cfg.Key+" if its entries are not needed")
	case redisconn.EndsSession(err):
		return 0, err
	default:
		cause := redisconn.CauseOf(err)
		w.reject(cause, strings.TrimSpace(err.Error()+"; "+cause.Advice()))
		w.makeRoom(ctx, r, cause)
	}
	return refusedWait, nil
}

// align compares the stream's end with what the log has sent.
func (w *StreamWriter) align(ctx context.Context, r streamConn) error {
	end, err := r.End(ctx)
	if err != nil {
		return err
	}
	last, newest := end.Last, w.newest()
	if newest.Less(last) {
		return fmt.Errorf("%w (its last ID is %s, ours %s)", errConflict, last, newest)
	}
	if err := w.survey(ctx, r, end); err != nil {
		return err
	}
	w.create = !end.Exists
	if floor := w.frames.floor(); !last.IsZero() && last.Less(floor) && end.Entries > 0 {
		// Redis was restored from a copy that is older than all we would add again: a
		// reader must not find a gap behind it.
		if _, err := r.Trim(ctx, floor); err != nil {
			return err
		}
		end.Entries = 0
	}
	if again := w.frames.resume(last); again > 0 {
		w.cfg.Log.Warn().Int("frames", again).Stringer("after", last).Msg("Redis lost frames; they are added again")
	}
	w.frames.seedBound(end)
	return nil
}

// survey looks, once, for what no journal has: where a stream begins that an earlier
// program, or another state directory, has written. Where that is not permitted, more
// is declared if Redis loses it, than the stream had.
func (w *StreamWriter) survey(ctx context.Context, r streamConn, end streamEnd) error {
	if w.surveyed || end.Entries == 0 || w.frames.knows(end.Last) {
		w.surveyed = true
		return nil
	}
	const most = 16 // epochs
	first, err := r.First(ctx)
	for id, n := end.Last, 0; err == nil && n < most && first.Epoch < id.Epoch; n++ {
		if id, err = r.EpochEnd(ctx, id.Epoch-1); err == nil && !id.IsZero() {
			w.frames.found(id)
		}
	}
	if err != nil && redisconn.EndsSession(err) {
		return err
	}
	w.surveyed = true
	if err == nil {
		w.frames.foundFloor(first)
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
