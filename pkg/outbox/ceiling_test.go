package outbox

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// fakeServer accepts messages below a size, and counts the tests.
type fakeServer struct {
	ceiling int64
	err     error
	takes   time.Duration // each test
	now     time.Time
	tests   int
}

func (s *fakeServer) test(_ context.Context, size int64) (bool, error) {
	s.tests++
	s.now = s.now.Add(s.takes)
	return s.ceiling == 0 || size < s.ceiling, s.err
}

func newCeiling(ceiling int64) (*Ceiling, *fakeServer) {
	s := &fakeServer{ceiling: ceiling, now: time.Unix(1e9, 0)}
	c := NewCeiling(zerolog.Nop())
	c.now = func() time.Time { return s.now }
	c.sessionBegins()
	return c, s
}

// endsSession lets a session end while size bytes are sent, and the next one begin.
func (c *Ceiling) endsSession(size int64) {
	c.failed(context.Background(), size, io.EOF)
	c.sessionBegins()
}

func mustFit(t *testing.T, c *Ceiling, s *fakeServer, size int64, want bool, tests int) {
	t.Helper()
	before := s.tests
	if fits, err := c.fits(t.Context(), size, s.test); err != nil || fits != want {
		t.Errorf("a message of %d bytes fits: %v, %v; want %v", size, fits, err, want)
	}
	if n := s.tests - before; n != tests {
		t.Errorf("that took %d tests, want %d", n, tests)
	}
}

type sizeReply string

func (e sizeReply) Error() string { return string(e) }
func (sizeReply) RedisError()     {}

func TestWhatIsSuspected(t *testing.T) {
	const large = 100_000
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	for name, c := range map[string]struct {
		happens func(c *Ceiling)
		tests   int
	}{
		"nothing":                    {func(*Ceiling) {}, 0},
		"one end":                    {func(c *Ceiling) { c.endsSession(large) }, 0},
		"two ends":                   {func(c *Ceiling) { c.endsSession(large); c.endsSession(large) }, 1},
		"two ends of a smaller one":  {func(c *Ceiling) { c.endsSession(large / 2); c.endsSession(large / 2) }, 1},
		"two ends of a larger one":   {func(c *Ceiling) { c.endsSession(large * 2); c.endsSession(large * 2) }, 0},
		"an answer and its entry":    {func(c *Ceiling) { c.endsSession(large + 1000); c.endsSession(large) }, 1},
		"small ones pass meanwhile":  {func(c *Ceiling) { c.endsSession(large); c.passed(50_000); c.endsSession(large) }, 1},
		"it passes meanwhile":        {func(c *Ceiling) { c.endsSession(large); c.passed(large); c.endsSession(large) }, 0},
		"two ends of what is little": {func(c *Ceiling) { c.endsSession(1000); c.endsSession(1000) }, 0},
		"two connections, one session": {func(c *Ceiling) {
			c.failed(context.Background(), large, io.EOF)
			c.endsSession(large)
		}, 0},
		"the session had ended": {func(c *Ceiling) {
			for range 2 {
				c.failed(cancelled, large, io.EOF)
				c.sessionBegins()
			}
		}, 0},
		"silence": {func(c *Ceiling) {
			for range 2 {
				c.failed(context.Background(), large, context.DeadlineExceeded)
				c.sessionBegins()
			}
		}, 0},
		"an answer about the size": {func(c *Ceiling) {
			c.failed(context.Background(), large, sizeReply("ERR Protocol error: invalid bulk length"))
		}, 1},
		"another answer": {func(c *Ceiling) {
			for range 2 {
				c.failed(context.Background(), large, sizeReply("OOM command not allowed"))
			}
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			ceiling, s := newCeiling(0)
			c.happens(ceiling)
			mustFit(t, ceiling, s, large, true, c.tests)
			mustFit(t, ceiling, s, large, true, 0) // a test that was passed acquits
		})
	}
}

func TestACeilingIsMeasuredOnceASession(t *testing.T) {
	c, s := newCeiling(mib)
	c.endsSession(raw720)
	c.endsSession(raw720)
	mustFit(t, c, s, raw720, false, 13)
	if limit := c.limit(); limit > mib || limit < mib-2*ceilingGap {
		t.Errorf("the ceiling is %d, want just below %d", limit, mib)
	}
	if n := c.together(); n > mib/2 {
		t.Errorf("%d bytes may be sent together", n)
	}
	mustFit(t, c, s, 20_000, true, 0)
	mustFit(t, c, s, 2*raw720, false, 0)
	c.sessionBegins()
	if c.limit() != 0 {
		t.Error("a new session believes in the old ceiling")
	}
	mustFit(t, c, s, raw720, false, 3) // where it was
	c.endsSession(50_000)
	c.endsSession(50_000)
	mustFit(t, c, s, 50_000, true, 1) // which says nothing about larger ones
	mustFit(t, c, s, raw720, false, 3)
	s.now = s.now.Add(ceilingTest)
	mustFit(t, c, s, raw720, false, 3)
	s.ceiling = 2 * mib
	s.now = s.now.Add(ceilingTest)
	mustFit(t, c, s, raw720, false, 13)
	mustFit(t, c, s, mib, true, 0)
	s.ceiling = 0
	c.sessionBegins()
	mustFit(t, c, s, raw720, true, 1)
	mustFit(t, c, s, 2*raw720, true, 0)
}

// On a slow line a message is given up before the ceiling is known exactly.
func TestACeilingIsMeasuredForALimitedTime(t *testing.T) {
	c, s := newCeiling(mib)
	s.takes = time.Second
	c.endsSession(raw720)
	c.endsSession(raw720)
	mustFit(t, c, s, raw720, false, 3)
	for range 3 { // the next ones below it continue
		size := c.limit() - 1
		c.endsSession(size)
		c.endsSession(size)
		mustFit(t, c, s, size, false, 3)
	}
	if limit := c.limit(); limit > mib+mib/8 || limit < mib-2*ceilingGap {
		t.Errorf("the ceiling is %d, want about %d", limit, mib)
	}
}

// A test that an outage ends blames nobody.
func TestAnOutageDuringATest(t *testing.T) {
	c, s := newCeiling(mib)
	c.endsSession(raw720)
	c.endsSession(raw720)
	s.err = io.EOF
	if fits, err := c.fits(t.Context(), raw720, s.test); fits || !errors.Is(err, io.EOF) {
		t.Errorf("fits: %v, %v; want the outage", fits, err)
	}
	if c.limit() != 0 {
		t.Errorf("a ceiling of %d was taken from an outage", c.limit())
	}
}
