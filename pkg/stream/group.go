package stream

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/frame"
)

// GroupConfig says which consumer group reads which stream.
type GroupConfig struct {
	Key   string
	Group string        // the consumer group: its workers share the frames
	Name  string        // this worker, alone of that name in the group
	Idle  time.Duration // an entry not finished for so long is taken over by another worker
	Tries int           // an entry handed out so often without being finished is set aside
	// Handle finishes one entry, frames, "started" and "dropped" alike. An entry
	// whose Handle fails is given to some worker again after Idle.
	Handle func(ctx context.Context, m *frame.Message) error
	// Settle, if set, makes durable what Handle finished, before that is
	// acknowledged. When it fails the entries count as failed.
	Settle func() error
	// SetAside, if set, gets an entry that was handed out Tries times or is
	// unreadable, before it is acknowledged unfinished. m is nil when the entry
	// does not even say what it is.
	SetAside func(id frame.ID, m *frame.Message, err error)
	Log      zerolog.Logger
}

// GroupStats counts entries, as this worker saw them.
type GroupStats struct {
	Handled  uint64 `json:"handled"`  // finished
	Failed   uint64 `json:"failed"`   // attempts that failed
	Claimed  uint64 `json:"claimed"`  // taken over because nobody finished them in time
	SetAside uint64 `json:"poisoned"` // acknowledged unfinished
	Declared uint64 `json:"declared"` // frames that a "dropped" entry named
	Groups   uint64 `json:"groups"`   // times the group had to be made (again)
}

// GroupConsumer is one worker of a consumer group that shares one camera's frames:
// each entry is finished at least once, by some worker. It never makes the stream;
// a group that vanished with it is made again at the stream's start, and then
// hands out everything the stream has once more.
type GroupConsumer struct {
	reader
	cfg GroupConfig

	// Only the worker uses these.
	finished []string       // entries that Redis may still have as pending
	tries    map[string]int // of pending entries that are handed out again, by ID
	resumed  *redis.Conn    // on which this worker's own pending entries were read
	claimed  time.Time      // when idle entries were last looked for
	waiting  bool           // the stream is not there, and that was logged

	leaving, left         chan struct{} // closed when asked to leave, when it is done
	leavingOnce, leftOnce sync.Once

	mu    sync.Mutex // guards stats
	stats GroupStats
}

// NewGroupConsumer prepares a worker. Zero Idle and Tries become 30 s and 5.
func NewGroupConsumer(cfg GroupConfig) *GroupConsumer {
	if cfg.Idle == 0 {
		cfg.Idle = 30 * time.Second
	}
	if cfg.Tries == 0 {
		cfg.Tries = 5
	}
	return &GroupConsumer{
		reader: reader{key: cfg.Key, log: cfg.Log}, cfg: cfg, leaving: make(chan struct{}), left: make(chan struct{}),
	}
}

// Stats counts what this worker did.
func (g *GroupConsumer) Stats() GroupStats {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.stats
}

func (g *GroupConsumer) count(f func(*GroupStats)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f(&g.stats)
}

// Leave makes the worker read nothing more, and waits until what it has in hand
// is acknowledged and the group has no worker of its name, or ctx ends.
func (g *GroupConsumer) Leave(ctx context.Context) {
	g.leavingOnce.Do(func() { close(g.leaving) })
	select {
	case <-g.left:
	case <-ctx.Done():
	}
}

func (g *GroupConsumer) leaves() bool {
	select {
	case <-g.leaving:
		return true
	default:
		return false
	}
}

// Worker reads while a session lasts.
func (g *GroupConsumer) Worker() datatransfer.Worker {
	return datatransfer.Worker{Name: "share frames", Run: func(ctx context.Context, s *datatransfer.Session) error {
		g.resumed, g.claimed = nil, time.Time{}
		return g.run(ctx, s, g.step)
	}}
}

// step acknowledges what an earlier session could not, resumes what this worker
// had in hand then, claims what others left unfinished, then reads what is new.
func (g *GroupConsumer) step(ctx context.Context, conn *redis.Conn) error {
	err := g.acknowledge(ctx, conn)
	if err == nil && g.resumed != conn && !g.leaves() {
		if err = g.resume(ctx, conn); err == nil {
			g.resumed = conn
		}
	}
	if err == nil && time.Since(g.claimed) > g.cfg.Idle/2 && !g.leaves() {
		if err = g.claim(ctx, conn); err == nil {
			g.claimed = time.Now()
		}
	}
	if err == nil && !g.leaves() {
		var entries []redis.XMessage
		if entries, err = g.read(ctx, conn, ">", groupBlock); err == nil {
			err = g.work(ctx, conn, entries)
		}
	}
	if noGroup(err) {
		err = g.create(ctx, conn)
	}
	if g.leaves() && ctx.Err() == nil && err == nil {
		g.leave(ctx, conn)
		return errLeft
	}
	return err
}

// work handles entries and acknowledges the finished ones.
func (g *GroupConsumer) work(ctx context.Context, conn *redis.Conn, entries []redis.XMessage) error {
	var finished []string
	var sum GroupStats
	for _, e := range entries {
		if ctx.Err() != nil {
			break
		}
		if ok, err := g.finish(ctx, e, &sum); err != nil {
			return err
		} else if ok {
			finished = append(finished, e.ID)
		}
	}
	if len(finished) == 0 {
		return nil
	}
	if g.cfg.Settle != nil {
		if err := g.cfg.Settle(); err != nil {
			g.count(func(s *GroupStats) { s.Failed += uint64(len(finished)) })
			g.log.Warn().Int("entries", len(finished)).Err(err).Msg("Frames could not be stored durably; they stay pending")
			return nil
		}
	}
	g.count(func(s *GroupStats) {
		s.Handled += sum.Handled
		s.Declared += sum.Declared
		s.SetAside += sum.SetAside
	})
	g.finished = append(g.finished, finished...)
	return g.acknowledge(ctx, conn)
}

// finish handles one entry; false leaves it pending. What it counts holds once it
// is settled.
func (g *GroupConsumer) finish(ctx context.Context, e redis.XMessage, sum *GroupStats) (bool, error) {
	id, err := frame.ParseID(e.ID)
	if err != nil {
		return false, fmt.Errorf("read ID of an entry of %s: %w", g.key, err)
	}
	if e.Values == nil {
		g.log.Warn().Stringer("id", id).Msg("A frame was trimmed from the stream before it was handled")
		return true, nil
	}
	tries := g.tries[e.ID]
	m, err := g.message(id, e.Values)
	if err == nil && tries > g.cfg.Tries {
		err = fmt.Errorf("not finished in %d tries", tries-1)
	}
	if err != nil {
		sum.SetAside++
		g.log.Error().Stringer("id", id).Err(err).Msg("A frame is set aside")
		if g.cfg.SetAside != nil {
			g.cfg.SetAside(id, m, err)
		}
		return true, nil
	}
	if err := g.cfg.Handle(ctx, m); err != nil {
		if ctx.Err() == nil {
			g.count(func(s *GroupStats) { s.Failed++ })
			g.log.Warn().Stringer("id", id).Int("try", max(tries, 1)).Err(err).Msg("A frame could not be handled; it stays pending")
		}
		return false, nil
	}
	sum.Handled++
	if m.Header.Status == frame.StatusDropped {
		sum.Declared += id.Seq - covered(id, &m.Header) + 1
	}
	return true, nil
}
