package datatransfer

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"framekeeper/pkg/redisconn"
)

// prober proves that what the data client publishes arrives on the
// subscription. One probe is under way at a time; one goroutine sends, the
// receiver calls echo.
type prober struct {
	s       *Session
	cfg     redisconn.Config
	channel string
	echoes  chan uint64 // capacity 1: only the newest matters
	seq     uint64
	conn    *redis.Conn // the probe's own: one of the pool might have to be dialled first
	asks    atomic.Bool // Redis permits ECHO: answers that are long in coming can be asked after

	// What arrived on the connections that may excuse the probe's absence.
	since  time.Time // when it was last enough to be life
	before uint64    // how much it was then
}

func newProber(name string, cfg redisconn.Config, s *Session) *prober {
	var nonce [8]byte
	_, _ = rand.Read(nonce[:]) // never fails
	return &prober{
		s: s, cfg: cfg, echoes: make(chan uint64, 1),
		channel: "probe/" + name + "/" + hex.EncodeToString(nonce[:]),
	}
}

// echo receives the probe channel's messages.
func (p *prober) echo(payload []byte, _ time.Time) {
	seq, err := strconv.ParseUint(string(payload), 10, 64)
	if err != nil {
		return // somebody else's message
	}
	select {
	case <-p.echoes:
	default:
	}
	p.echoes <- seq
}

// watch probes every connection_check_interval until the session ends, and
// returns why, or until done has something to return.
func (p *prober) watch(returned func(rtt time.Duration), done <-chan error) error {
	tick := time.NewTicker(p.cfg.CheckInterval)
	defer tick.Stop()
	for {
		select {
		case <-p.s.ctx.Done():
			return context.Cause(p.s.ctx)
		case err := <-done:
			return err
		case <-tick.C:
			rtt, err := p.once()
			if err != nil {
				return err
			}
			returned(rtt)
		}
	}
}

var errNoReceiver = errors.New("the probe reached no subscriber")

// once sends one probe and waits until it is back, or silence lasts too long.
func (p *prober) once() (time.Duration, error) {
	p.askAfter()
	p.seq++
	sent := time.Now()
	p.since, p.before = sent, p.s.target.Activity().In // "moving" means: since this look
	reply := p.publish()
	timer := time.NewTimer(p.cfg.CheckTimeout)
	defer timer.Stop()
	answered, back := false, false
	for !answered || !back {
		select {
		case err := <-reply:
			if err != nil {
				return 0, fmt.Errorf("publish probe: %w", err)
			}
			answered = true
			p.since, p.before = time.Now(), p.s.target.Activity().ControlIn
			timer.Reset(p.cfg.CheckTimeout) // the message is right behind its reply
		case seq := <-p.echoes:
			back = back || seq == p.seq
		case <-timer.C:
			more, err := p.overdue(answered, time.Since(sent))
			if err != nil {
				return 0, err
			}
			p.askAfter() // what excuses it may hide that its own answer is lost
			timer.Reset(more)
		case <-p.s.ctx.Done():
			return 0, context.Cause(p.s.ctx)
		}
	}
	return time.Since(sent), nil
}

// publish sends the probe without waiting, so that a frozen server cannot hold
// the one who watches the clock.
func (p *prober) publish() <-chan error {
	reply := make(chan error, 1)
	payload := strconv.FormatUint(p.seq, 10)
	p.s.core.run("probe", func() {
		n, err := p.send(payload)
		if err == nil && n == 0 {
			err = &redisconn.CauseError{Cause: redisconn.CauseWrongNode, Err: errNoReceiver}
		}
		reply <- err
	})
	return reply
}

// send publishes a probe; the first one finds out what is permitted too.
func (p *prober) send(payload string) (int64, error) {
	if p.seq > 1 {
		return p.conn.Publish(p.s.ctx, p.channel, payload).Result()
	}
	pipe := p.conn.Pipeline()
	echo, published := pipe.Echo(p.s.ctx, p.channel), pipe.Publish(p.s.ctx, p.channel, payload)
	_, _ = pipe.Exec(p.s.ctx) // each has its own error
	p.asks.Store(echo.Val() == p.channel)
	return published.Result()
}

// askAfter asks after the answers that the session's commands wait for. One that was
// lost on the way would otherwise be waited for as long as io_timeout is.
func (p *prober) askAfter() {
	if p.asks.Load() {
		p.s.target.AskAfter(p.cfg.CheckInterval / 2)
	}
}

// overdue decides what a probe that is not back in time means. Before the
// PUBLISH is answered any byte that arrives is life, and so are our own bytes
// that are still getting through: a large frame on a slow link is not silence.
// Once it is answered only the subscription's connection can excuse the
// message's absence; a busy data connection must not hide a deaf one.
func (p *prober) overdue(answered bool, waited time.Duration) (more time.Duration, err error) {
	a := p.s.target.Activity()
	last, in := a.LastRead, a.In
	if answered {
		last, in = a.ControlRead, a.ControlIn
	}
	if left := p.cfg.CheckTimeout - time.Since(last); !last.IsZero() && left > 0 && p.lives(in) {
		return left, nil
	}
	if !answered && a.Moving {
		return p.cfg.CheckTimeout / 4, nil
	}
	what := "no answer to the probe"
	if answered {
		what = "the probe was published but did not arrive"
	}
	return 0, silence(a, what, waited)
}

// lives says whether enough bytes arrive to be life: a byte now and then is
// none, or a peer that drips could keep the link deaf for ever.
func (p *prober) lives(in uint64) bool {
	now := time.Now()
	if in-p.before >= max(p.cfg.Drip(p.cfg.CheckTimeout), 1) {
		p.since, p.before = now, in
		return true
	}
	return now.Sub(p.since) < p.cfg.CheckTimeout
}

// silence names what a quiet connection means: where the far kernel does not
// even acknowledge our bytes, it is the network.
func silence(a redisconn.Activity, what string, waited time.Duration) error {
	cause := redisconn.CauseFrozen
	if a.Stuck {
		cause = redisconn.CauseBlackHole
	}
	return &redisconn.CauseError{
		Cause: cause,
		Err:   fmt.Errorf("%s for %s", what, waited.Round(time.Millisecond)),
	}
}
