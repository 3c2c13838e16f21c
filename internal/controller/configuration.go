package controller

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/configfile"
)

// configuration is the one in force, with the log that it asks for. Any goroutine
// may use it.
type configuration struct {
	mu     sync.Mutex         // guards all below
	cfg    *configfile.Config // never changed in place
	loaded time.Time          // when cfg came into force
	log    zerolog.Logger
	closer io.Closer // of log
}

func newConfiguration(cfg *configfile.Config, log zerolog.Logger, closer io.Closer) *configuration {
	return &configuration{cfg: cfg, loaded: time.Now(), log: log, closer: closer}
}

func (c *configuration) get() *configfile.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cfg
}

func (c *configuration) logger() *zerolog.Logger {
	c.mu.Lock()
	defer c.mu.Unlock()
	log := c.log
	return &log
}

// age is how long ago it came into force.
func (c *configuration) age() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Since(c.loaded)
}

// replace puts another one into force. A closer says that its log is a new one;
// the old log's is returned then.
func (c *configuration) replace(cfg *configfile.Config, log zerolog.Logger, closer io.Closer) (before io.Closer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cfg, c.loaded, c.log = cfg, time.Now(), log
	if closer != nil {
		before, c.closer = c.closer, closer
	}
	return before
}

// Close closes the log.
func (c *configuration) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closer.Close()
}

// replaceable runs one part of the controller until a reload puts another one in
// its place. The part before is ended and waited for first.
type replaceable[T any] struct {
	run func(context.Context, T) error // of a part; one that fails ends the controller

	changing sync.Mutex      // guards all up to mu
	ctx      context.Context //nolint:containedctx // of all parts; nil: none runs yet
	fail     context.CancelCauseFunc
	cancel   context.CancelFunc // of the part that runs; nil: none does
	done     chan struct{}      // closed when that has ended

	mu   sync.Mutex // guards part
	part T
}

// get is the part there is now.
func (r *replaceable[T]) get() T {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.part
}

// start runs the part, and from now on each that replaces it.
func (r *replaceable[T]) start(ctx context.Context, fail context.CancelCauseFunc) {
	r.changing.Lock()
	r.ctx, r.fail = ctx, fail
	r.changing.Unlock()
	r.replace(r.get())
}

// replace runs a part in the place of the one before; before start it only puts
// it there.
func (r *replaceable[T]) replace(part T) {
	r.mu.Lock()
	r.part = part
	r.mu.Unlock()
	r.changing.Lock()
	defer r.changing.Unlock()
	r.end()
	if r.ctx == nil {
		return
	}
	ctx, cancel := context.WithCancel(r.ctx) //nolint:gosec // end calls cancel
	done := make(chan struct{})
	r.cancel, r.done = cancel, done
	go func() { // joined by end
		defer close(done)
		if err := r.run(ctx, part); err != nil {
			r.fail(err)
		}
	}()
}

// stop ends the part that runs, and waits for it.
func (r *replaceable[T]) stop() {
	r.changing.Lock()
	defer r.changing.Unlock()
	r.end()
}

// end is for callers that hold changing.
func (r *replaceable[T]) end() {
	if r.cancel != nil {
		r.cancel()
		<-r.done
		r.cancel = nil
	}
}
