package outbox

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/frame"
)

const (
	suspectSize  = 16 << 10 // smaller messages never end a connection
	maxSuspects  = 64
	ceilingTries = 3                // halvings when a ceiling is measured
	ceilingTest  = 10 * time.Minute // how often one is tested again
)

// Ceiling is the size from which on this Redis, or what is before it, accepts no
// message: it ends the connection instead, every time. A message whose sending has
// ended two connections is suspected; then padding of its size decides. Nothing is
// given up without that test. A ceiling is tested again in every session that has
// a message above it, and every 10 min.
//
// All writers of a camera share one; any goroutine may use it. A nil Ceiling is none.
type Ceiling struct {
	log zerolog.Logger
	now func() time.Time

	mu       sync.Mutex     // guards all below
	size     int64          // messages of this size do not pass; 0: none is known
	tested   time.Time      // when that was last found
	suspects map[string]int // how many connections a message has ended
}

// NewCeiling makes one that is not known yet.
func NewCeiling(log zerolog.Logger) *Ceiling {
	return &Ceiling{log: log, now: time.Now, suspects: map[string]int{}}
}

// sizeTester reports whether Redis accepts a message of a size; an error is an
// outage.
type sizeTester func(ctx context.Context, size int64) (bool, error)

func sizeTest(s *datatransfer.Session) sizeTester { return s.Accepts }

// keyOf names a message among the suspects: an answer and its entry differ.
func keyOf(published bool, i *Item) string {
	return fmt.Sprint(published, i.msg.Header.ID, i.msg.Header.RequestedUS)
}

func entryKey(id frame.ID) string { return "entry " + id.String() }

// sessionBegins has what is known tested again: the server may be another one.
func (c *Ceiling) sessionBegins() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tested = time.Time{}
}

// ended notes that a connection ended while the message was sent.
func (c *Ceiling) ended(key string, size int64) {
	if c == nil || size < suspectSize {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.suspects) >= maxSuspects {
		clear(c.suspects)
	}
	c.suspects[key]++
}

// passed notes that Redis took what it was given.
func (c *Ceiling) passed() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.suspects)
}

// suspicious reports whether messages are to be sent one by one, so that a
// connection's end names one.
func (c *Ceiling) suspicious() bool {
	if c == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.suspects) > 0
}

// limit is the size from which on messages do not pass; 0: none is known.
func (c *Ceiling) limit() int64 {
	if c == nil {
		return 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.size
}

// fits reports whether a message may be sent. It tests what is suspected, or was
// found long ago; an error is the session's end.
func (c *Ceiling) fits(ctx context.Context, key string, size int64, test sizeTester) (bool, error) {
	if c == nil {
		return true, nil
	}
	c.mu.Lock()
	limit, suspect := c.size, c.suspects[key] >= 2
	above := limit > 0 && size >= limit
	fresh := !c.tested.IsZero() && c.now().Sub(c.tested) < ceilingTest
	c.mu.Unlock()
	switch {
	case above && fresh:
		return false, nil
	case !above && !suspect:
		return true, nil
	}
	passes, err := test(ctx, size)
	if err != nil {
		return false, fmt.Errorf("test a message of %d bytes: %w", size, err)
	}
	if passes {
		c.set(0)
		return true, nil
	}
	refused, accepted := size, int64(0)
	for range ceilingTries {
		middle := accepted + (refused-accepted)/2
		if passes, err = test(ctx, middle); err != nil {
			return false, fmt.Errorf("test a message of %d bytes: %w", middle, err)
		}
		if passes {
			accepted = middle
		} else {
			refused = middle
		}
	}
	c.set(refused)
	return false, nil
}

// set notes what a test has shown.
func (c *Ceiling) set(size int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if size > 0 && size != c.size {
		c.log.Error().Int64("bytes", size).Msg("Redis, or what is before it, ends the connection for messages of that size: they are declared lost instead; " +
			"look at proto-max-bulk-len, client-query-buffer-limit and proxies")
	}
	if size == 0 && c.size > 0 {
		c.log.Info().Int64("bytes", c.size).Msg("Redis accepts large messages again")
	}
	c.size, c.tested = size, c.now()
	clear(c.suspects)
}
