package outbox

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/redisconn"
)

const (
	suspectSize     = 16 << 10 // smaller messages never end a connection
	maxSuspects     = 64
	commandSize     = 1 << 10          // at most, of what a command has beside the message
	ceilingGap      = 1 << 10          // so closely is a ceiling measured
	ceilingPatience = 2 * time.Second  // so long; the next message that ends connections continues
	ceilingTest     = 10 * time.Minute // how often one is tested again
)

// Ceiling is the size from which on this Redis, or what is before it, accepts no
// message: it ends the connection instead, every time. Once two connections have
// ended while messages up to some size were sent (or one, with an answer about the
// size), padding of that size decides. Nothing is given up without that test. A
// ceiling is tested again in every session that has a message above it, and every
// 10 min.
//
// What is sent together counts as one message: servers and proxies that bound what
// they buffer count so. All writers of a camera share one Ceiling; any goroutine may
// use it. A nil Ceiling is none.
type Ceiling struct {
	log     zerolog.Logger
	now     func() time.Time
	testing chan struct{} // whoever tests has put something in

	mu      sync.Mutex // guards all below
	size    int64      // messages of this size do not pass; 0: none is known
	below   int64      // a size that did pass when that was found
	tested  time.Time  // when it was; zero: before this session
	session uint64     // rises with each
	endedIn uint64     // the last one that ended during the sending of a message
	ends    []int64    // sizes of the messages during whose sending connections ended
}

// NewCeiling makes one that is not known yet.
func NewCeiling(log zerolog.Logger) *Ceiling {
	return &Ceiling{log: log, now: time.Now, testing: make(chan struct{}, 1)}
}

// sizeTester reports whether Redis accepts a message of a size; an error is an
// outage.
type sizeTester func(ctx context.Context, size int64) (bool, error)

func sizeTest(s *datatransfer.Session) sizeTester { return s.Accepts }

// sessionBegins has what is known tested again: the server may be another one.
func (c *Ceiling) sessionBegins() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tested = time.Time{}
	c.session++
}

// failed notes the error with which the sending of size bytes ended. That a session
// ended for another reason (ctx) proves nothing, and a session ends once, though
// several connections may meet its end.
func (c *Ceiling) failed(ctx context.Context, size int64, err error) {
	if c == nil || size < suspectSize || ctx.Err() != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.ends) > maxSuspects {
		c.ends = nil
	}
	switch {
	case redisconn.IsAboutSize(err):
		c.ends = append(c.ends, size, size)
	case redisconn.CauseOf(err) == redisconn.CauseClosed && c.endedIn != c.session:
		c.ends, c.endedIn = append(c.ends, size), c.session
	}
}

// passed notes that Redis took a message.
func (c *Ceiling) passed(size int64) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.acquit(size)
}

// acquit clears messages up to a size. The caller has mu.
func (c *Ceiling) acquit(size int64) {
	c.ends = slices.DeleteFunc(c.ends, func(s int64) bool { return s <= size })
}

// limit is the size from which on messages do not pass in this session; 0: none is
// known.
func (c *Ceiling) limit() int64 {
	if c == nil {
		return 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.fresh() {
		return 0
	}
	return c.size
}

// together is how many bytes may be sent together.
func (c *Ceiling) together() int64 {
	if c == nil {
		return batchBytes
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.size == 0 {
		return batchBytes
	}
	return min(batchBytes, c.size/2)
}

func (c *Ceiling) fresh() bool { return !c.tested.IsZero() && c.now().Sub(c.tested) < ceilingTest }

// judge says what is known of a size. The caller does not have mu.
func (c *Ceiling) judge(size int64) (passes, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ended := 0
	for _, s := range c.ends {
		if s <= size+size/8 { // an answer and its entry are not quite of one size
			ended++
		}
	}
	above := c.size > 0 && size >= c.size
	return !above, (above && c.fresh()) || (!above && ended < 2)
}

// fits reports whether a message may be sent. It tests what is suspected, or was
// found long ago; an error is the session's end.
func (c *Ceiling) fits(ctx context.Context, size int64, test sizeTester) (bool, error) {
	if c == nil || size < suspectSize {
		return true, nil
	}
	if passes, known := c.judge(size); known {
		return passes, nil
	}
	select {
	case c.testing <- struct{}{}:
		defer func() { <-c.testing }()
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
	if passes, known := c.judge(size); known { // another writer has found out meanwhile
		return passes, nil
	}
	return c.measure(ctx, size, test)
}

// measure tests a size, and, if it is refused, where the ceiling is below it.
func (c *Ceiling) measure(ctx context.Context, size int64, test sizeTester) (bool, error) {
	passes, err := test(ctx, size+commandSize)
	if err != nil {
		return false, fmt.Errorf("test a message of %d bytes: %w", size, err)
	}
	if passes {
		c.clear(size)
		return true, nil
	}
	c.mu.Lock()
	before := []int64{c.size, c.below} // it is probably where it was
	c.mu.Unlock()
	refused, accepted := size, int64(suspectSize-1)
	for began := c.now(); err == nil && refused-accepted > ceilingGap && c.now().Sub(began) < ceilingPatience; {
		middle := accepted + (refused-accepted)/2
		for _, known := range before {
			if accepted < known && known < refused {
				middle = known
				break
			}
		}
		passes, err = test(ctx, middle+commandSize)
		switch {
		case err != nil:
			err = fmt.Errorf("test a message of %d bytes: %w", middle, err)
		case passes:
			accepted = middle
		default:
			refused = middle
		}
	}
	c.set(refused, accepted)
	return false, err
}

// clear notes that a test has passed.
func (c *Ceiling) clear(size int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.acquit(size)
	if c.size > 0 && size >= c.size {
		c.log.Info().Int64("bytes", c.size).Msg("Redis accepts large messages again")
		c.size, c.below = 0, 0
	}
}

// set notes between which sizes tests have shown the ceiling to be.
func (c *Ceiling) set(refused, accepted int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.size == 0 {
		c.log.Error().Int64("bytes", refused).Str("advice", "look at proto-max-bulk-len, client-query-buffer-limit and proxies; or make frames smaller").
			Msg("Redis, or what is before it, accepts no messages of that size: such frames are declared lost, and requests for them get an error")
	}
	c.size, c.below, c.tested = refused, accepted, c.now()
	c.ends = nil
}
