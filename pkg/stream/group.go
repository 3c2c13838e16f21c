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
	// Handle finishes one entry, frames, "started" and "dropped" alike. An entry
	// whose Handle fails is given to some worker again after Idle, to this one sooner
	// when it can finish none, and however often: how often it was handed out counts
	// lost sessions too, and decides nothing.
	Handle func(ctx context.Context, m *frame.Message) error
	// Settle, if set, makes durable what Handle finished, before that is
	// acknowledged. When it fails the entries count as failed.
	Settle func() error
	// SetAside, if set, gets a damaged entry before it is acknowledged unfinished. m is
	// nil when the entry does not even say what it is.
	SetAside func(id frame.ID, m *frame.Message, err error)
	Log      zerolog.Logger
}

// GroupStats counts entries, as this worker saw them.
type GroupStats struct {
	Handled  uint64 `json:"handled"`  // finished
	Failed   uint64 `json:"failed"`   // attempts that failed
	Claimed  uint64 `json:"claimed"`  // taken over because nobody finished them in time
	SetAside uint64 `json:"poisoned"` // damaged, and acknowledged unfinished
	Trimmed  uint64 `json:"trimmed"`  // handed out, and removed from the stream before they were finished
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
	finished []string    // entries that Redis may still have as pending
	resumed  *redis.Conn // on which this worker's own pending entries were read
	claimed  time.Time   // when idle entries were last looked for
	waiting  bool        // the stream is not there, and that was logged
	failing  bool        // entries cannot be finished, and that was logged
	stuck    bool        // not one of the last ones was finished

	leaving, left         chan struct{} // closed when asked to leave, when it is done
	leavingOnce, leftOnce sync.Once

	mu    sync.Mutex // guards stats
	stats GroupStats
}

// NewGroupConsumer prepares a worker. A zero Idle becomes 30 s.
func NewGroupConsumer(cfg GroupConfig) *GroupConsumer {
	if cfg.Idle == 0 {
		cfg.Idle = 30 * time.Second
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
	if g.stuck { // leave the new ones to the other workers, and try what is in hand again
		g.pause(ctx, retryWait)
		g.resumed = nil
	}
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
	if g.stuck = len(finished) == 0 && len(entries) > 0; len(finished) == 0 {
		return nil
	}
	if g.cfg.Settle != nil {
		if err := g.cfg.Settle(); err != nil {
			g.fail(err, len(finished))
			g.stuck = true
			return nil
		}
	}
	if sum.Handled > 0 {
		g.failing = false
	}
	g.count(func(s *GroupStats) {
		s.Handled += sum.Handled
		s.Declared += sum.Declared
		s.SetAside += sum.SetAside
	})
	g.trimmed(sum.Trimmed)
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
		sum.Trimmed++
		return true, nil
	}
	m, err := g.message(id, e.Values)
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
			g.fail(err, 1)
		}
		return false, nil
	}
	sum.Handled++
	if m.Header.Status == frame.StatusDropped {
		sum.Declared += id.Seq - covered(id, &m.Header) + 1
	}
	return true, nil
}

// fail counts entries that stay pending, and logs the first time since some were
// finished.
func (g *GroupConsumer) fail(err error, entries int) {
	g.count(func(s *GroupStats) { s.Failed += uint64(entries) })
	if !g.failing {
		g.log.Warn().Int("entries", entries).Err(err).Msg("Frames could not be handled; they stay pending, and are tried again")
	}
	g.failing = true
}

// trimmed counts entries that nobody can finish any more.
func (g *GroupConsumer) trimmed(n uint64) {
	if n == 0 {
		return
	}
	g.count(func(s *GroupStats) { s.Trimmed += n })
	g.log.Warn().Uint64("entries", n).Msg("Frames were trimmed from the stream after they were handed out and before they were handled")
}
