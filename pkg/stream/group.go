package stream

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"framekeeper/pkg/frame"
	"framekeeper/pkg/redisconn"

	"framekeeper/pkg/datatransfer"
)

// GroupConfig says which pool of workers reads which stream.
type GroupConfig struct {
	Key   string
	Group string        // the pool: its workers share the frames
	Name  string        // this worker, alone of that name in the pool
	Idle  time.Duration // an entry not finished for so long is taken over by another worker
	Tries int           // an entry handed out so often without being finished is set aside
	// Handle finishes one entry, frames, "started" and "dropped" alike. An entry
	// whose Handle fails is given to some worker again after Idle.
	Handle func(ctx context.Context, m *frame.Message) error
	// Settle, if set, makes durable what Handle finished, before that is
	// acknowledged. When it fails the entries count as failed.
	Settle func() error
	// Poison is told of an entry that was handed out Tries times or is
	// unreadable, before it is taken out of the pool's way. m is nil when the
	// entry does not even say what it is.
	Poison func(id frame.ID, m *frame.Message, err error)
	Log    zerolog.Logger
}

// GroupStats counts entries, as this worker saw them.
type GroupStats struct {
	Handled  uint64 `json:"handled"`  // finished
	Failed   uint64 `json:"failed"`   // attempts that failed
	Claimed  uint64 `json:"claimed"`  // taken over because nobody finished them in time
	Poisoned uint64 `json:"poisoned"` // set aside
	Declared uint64 `json:"declared"` // frames that a "dropped" entry named
	Groups   uint64 `json:"groups"`   // times the pool had to be made (again)
}

// GroupConsumer is one worker of a pool that shares one camera's frames: each
// entry is finished at least once, by some worker. It never makes the stream;
// a pool that vanished with it is made again at the stream's start, and then
// hands out everything the stream holds once more.
type GroupConsumer struct {
	cfg GroupConfig

	// Only the worker uses these.
	alone   *Consumer      // for what a worker does as a consumer of its own does: tell refusals, measure frames
	done    []string       // finished and durable; Redis may not know it yet
	tries   map[string]int // of pending entries that are handed out again, by ID
	high    frame.ID       // the highest ID finished
	resumed bool           // this session has taken up what an earlier one left
	swept   time.Time      // when idle entries were last looked for
	idle    bool           // the stream is not there, and that was told

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
		cfg: cfg, alone: NewConsumer(ConsumerConfig{Key: cfg.Key, Log: cfg.Log}),
		leaving: make(chan struct{}), left: make(chan struct{}),
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

// Leave makes the worker take nothing more, and waits until what it has in hand
// is acknowledged and the pool has forgotten it, or ctx ends.
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
	return datatransfer.Worker{Name: "share frames", Run: g.run}
}

func (g *GroupConsumer) run(ctx context.Context, s *datatransfer.Session) error {
	conn := s.Data().Conn()
	defer func() { _ = conn.Close() }()
	g.resumed, g.swept = false, time.Time{}
	for ctx.Err() == nil {
		err := g.step(ctx, conn)
		switch {
		case ctx.Err() != nil:
		case err == nil && g.leaves():
			g.forget(ctx, conn)
			return nil
		case err == nil:
			g.alone.allowed()
		case redisconn.EndsSession(err) || !redisconn.IsReply(err):
			again := afterOverdue(ctx, s, conn, err, g.cfg.Log)
			if again == nil {
				return err
			}
			conn, g.resumed = again, false // what the other one was given is pending
		case g.leaves() || !g.alone.waitAllowed(ctx, err):
			return nil
		}
	}
	return nil
}

// step acknowledges what an earlier session could not, takes up what this
// worker had in hand then, then what others left lying, then what is new.
func (g *GroupConsumer) step(ctx context.Context, conn *redis.Conn) error {
	err := g.acknowledge(ctx, conn)
	if err == nil && !g.resumed && !g.leaves() {
		err = g.resume(ctx, conn)
		g.resumed = err == nil
	}
	if err == nil && time.Since(g.swept) > g.cfg.Idle/2 && !g.leaves() {
		if err = g.claim(ctx, conn); err == nil {
			g.swept = time.Now()
		}
	}
	if err == nil && !g.leaves() {
		err = g.take(ctx, conn)
	}
	if noGroup(err) {
		return g.create(ctx, conn)
	}
	return err
}

// take waits for new entries and works on them.
func (g *GroupConsumer) take(ctx context.Context, conn *redis.Conn) error {
	entries, err := g.read(ctx, conn, ">", groupBlock)
	if err != nil {
		return err
	}
	return g.work(ctx, conn, entries)
}
