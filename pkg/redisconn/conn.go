package redisconn

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"framekeeper/pkg/frame"
)

// writeChunk is how much of a large write must get through within one write
// deadline. With io_timeout it states the lowest bandwidth a link may have:
// 64 KiB in 5 s, 105 kbit/s.
const writeChunk = 64 << 10

// trickle is how many bytes a read must bring within its deadline to be more
// than silence: a sixty-fourth of what the slowest line moves. A peer that sends
// one byte now and then would otherwise hold a reader for ever.
const trickle = writeChunk / 64

// Drip is how many bytes must arrive within d to be more than silence.
func (c *Config) Drip(d time.Duration) uint64 {
	return uint64(int64(trickle) * int64(d) / int64(c.IOTimeout)) //nolint:gosec // not negative
}

// looks is how often within one read deadline the sending side is looked at. A
// wait may last so much of the deadline longer than it should.
const looks = 4

// conn is a connection whose deadlines measure silence instead of whole
// operations: every byte that arrives, and every chunk that leaves, starts
// them anew. go-redis sets one deadline for a reply or a command, however
// large; without this a 2.7 MB frame on a slow link looks dead.
//
// One goroutine reads and one writes, as go-redis does; counters may be read
// by anyone.
type conn struct {
	net.Conn
	meter *meter
	role  Role
	usual time.Duration // io_timeout; 0: not known

	readAllowance  atomic.Int64               // ns of silence a read may meet; 0: any
	writeAllowance atomic.Int64               // ns one chunk may take; 0: any
	quietSince     atomic.Int64               // ns after meter.start: when the silence a read meets began
	acked          atomic.Uint64              // bytes the far kernel had when the reader last looked
	unused         atomic.Int64               // since when there is no command under way, ns after meter.start; 0: there is one, or was none yet
	questioned     atomic.Pointer[questioned] // what is above it; nil: no question may be put
	began, brought atomic.Int64               // when the present wait began or last brought a trickle, ns after meter.start, and what it has brought since
}

// SetReadDeadline begins a wait: what was acknowledged before it is no excuse
// for silence during it.
func (c *conn) SetReadDeadline(t time.Time) error {
	a := c.allowance(t)
	c.readAllowance.Store(a)
	if a == 0 {
		return c.Conn.SetReadDeadline(t)
	}
	c.stillSending()
	c.began.Store(int64(time.Since(c.meter.start)))
	c.brought.Store(0)
	return c.listen(a)
}

// drips counts what arrives in one wait, and reports that it is too little to be
// called anything but silence.
func (c *conn) drips(n int, a int64) bool {
	if c.brought.Add(int64(n)) >= trickle {
		c.began.Store(int64(time.Since(c.meter.start)))
		c.brought.Store(0)
		return false
	}
	return int64(time.Since(c.meter.start))-c.began.Load() > a
}

// listen lets a read wait for as long as the sending side need not be looked at.
func (c *conn) listen(a int64) error {
	c.quietSince.Store(int64(time.Since(c.meter.start)))
	return c.Conn.SetReadDeadline(time.Now().Add(time.Duration(a/looks + 1)))
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	a := c.allowance(t)
	c.writeAllowance.Store(a)
	if a > 0 {
		t = time.Now().Add(time.Duration(a))
	}
	return c.Conn.SetWriteDeadline(t)
}

func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// allowance is how far off a deadline is. go-redis reckons its own by the wall
// clock as it was up to 50 ms before: when that is set meanwhile they are hours
// off, or past, and mean the usual time all the same.
func (c *conn) allowance(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	a := time.Until(t)
	if wall := t == t.Round(0); wall && c.usual > 0 && (a <= 0 || a > c.usual) { //nolint:staticcheck // == sees the monotonic clock, Equal does not
		a = c.usual
	}
	return max(int64(a), 1)
}

// Read counts what arrives and moves the deadline on for as long as something
// does, or for as long as our own large write is still on its way.
func (c *conn) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		if n > 0 {
			c.meter.read(c.role, n)
			c.unused.Store(int64(time.Since(c.meter.start)))
		}
		a := c.readAllowance.Load()
		silent := n == 0 && errors.Is(err, os.ErrDeadlineExceeded)
		switch {
		case a == 0, n == 0 && !silent:
			return n, err
		case n > 0:
			if err == nil && !c.drips(n, a) {
				err = c.listen(a)
			}
			return n, err
		case c.stillSending():
			c.began.Store(int64(time.Since(c.meter.start))) // the reply is not due yet
			err = c.listen(a)
		default:
			left := a - (int64(time.Since(c.meter.start)) - c.quietSince.Load())
			if left <= 0 {
				return 0, err
			}
			err = c.Conn.SetReadDeadline(time.Now().Add(time.Duration(min(left, a/looks+1))))
		}
		if err != nil {
			return 0, err
		}
	}
}

// stillSending reports whether bytes we wrote were acknowledged since the last
// look: a reply cannot come before the command has arrived.
func (c *conn) stillSending() bool {
	q, ok := queueOf(c.Conn)
	return ok && c.acked.Swap(q.acked) != q.acked
}

// endedIdle reports whether the far side has ended the connection while no command was
// under way. One begins now.
func (c *conn) endedIdle() bool {
	since := c.unused.Swap(0)
	return since > 0 && c.role == Data && time.Since(c.meter.start)-time.Duration(since) > idleAfter && ended(c.Conn)
}

// Write sends in chunks, each with the whole deadline to itself.
func (c *conn) Write(p []byte) (int, error) {
	if c.endedIdle() {
		_ = c.Close() // its owner may not let go of it soon
		return 0, errIdledOut
	}
	sent := 0
	for {
		chunk := p[sent:min(len(p), sent+writeChunk)]
		n, err := c.Conn.Write(chunk)
		sent += n
		c.meter.written.Add(uint64(n))
		if err != nil || sent == len(p) {
			return sent, err
		}
		if a := c.writeAllowance.Load(); a > 0 {
			if err := c.Conn.SetWriteDeadline(time.Now().Add(time.Duration(a))); err != nil {
				return sent, err
			}
		}
	}
}

func (c *conn) Close() error {
	c.meter.forget(c)
	return c.Conn.Close()
}

// LastID is the ID of a stream's last entry at or below from ("+": of all); zero
// if there is none. Redis sends the whole entry for it, image and all.
func LastID(ctx context.Context, c redis.StreamCmdable, key, from string) (frame.ID, error) {
	last, err := c.XRevRangeN(ctx, key, from, "-", 1).Result()
	if err == nil && len(last) > 0 {
		var id frame.ID
		if id, err = frame.ParseID(last[0].ID); err == nil {
			return id, nil
		}
	}
	if err != nil {
		err = fmt.Errorf("read last entry of %s: %w", key, err)
	}
	return frame.ID{}, err
}
