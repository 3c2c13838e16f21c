package datatransfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
	"unsafe"

	"github.com/redis/go-redis/v9"

	"framekeeper/pkg/redisconn"
)

// Session is one life of the subscription connection and of the data client
// that was made for it. It ends once, as a whole, with the first error anybody
// meets; a new one starts from nothing.
type Session struct {
	ctx     context.Context //nolint:containedctx // the session is its own lifetime
	cancel  context.CancelCauseFunc
	core    *parts // what receives and probes
	workers *parts // Admit and the workers
	target  *redisconn.Target
	data    *redis.Client
	probe   string      // its own channel
	opened  []io.Closer // by stages, to be closed when the session's end has its reason
	last    io.Closer   // the probe's connection, to be closed when nobody uses it any more
}

// Data is the session's client for publishing, adding and reading. It is closed
// with the session; do not keep it.
func (s *Session) Data() *redis.Client { return s.data }

// Guarded calls f, which uses a PubSub of Client: see redisconn.Target's.
func (s *Session) Guarded(f func() error) error { return s.target.Guarded(redisconn.Data, f) }

// Client makes a further client of the session, for connections that may end without
// it. Values of more than longest bytes come as empty ones there. The caller closes
// it; its connections end with the session in any case.
func (s *Session) Client(longest int64) *redis.Client {
	return s.target.Limited(redisconn.Data, longest)
}

// Local is this machine's own IP address on the session's connections; "" over
// a unix socket.
func (s *Session) Local() string { return s.target.Local() }

// Acked is how many bytes the far kernel has acknowledged on the session's
// connections: whether what is being sent still moves.
func (s *Session) Acked() uint64 { return s.target.Acked() }

// Fail ends the session because of err; the first call counts.
func (s *Session) Fail(err error) { s.cancel(err) }

// ending says how a session went.
type ending struct {
	err       error
	wasLive   bool
	connected bool          // the server's kernel accepted a connection
	silent    time.Duration // since the last byte arrived
}

// runSession lives one session, from dial to the end of its last goroutine, but
// for those that have to be abandoned.
func (l *Link) runSession(parent context.Context) ending {
	l.enter(Connecting, nil)
	ctx, cancel := context.WithCancelCause(parent)
	target, err := l.open(ctx)
	if err != nil {
		cancel(err)
		return ending{err: err}
	}
	l.update(func(st *LinkStatus) { st.Addr = target.Addr() })
	s := &Session{ctx: ctx, cancel: cancel, target: target, core: newParts(l.returned), workers: newParts(l.returned)}

	// Whoever is blocked in a read or a write returns when the target closes,
	// so nobody outlives the session.
	stop := context.AfterFunc(ctx, target.Close)
	defer stop()

	end := ending{connected: true}
	end.wasLive, err = l.stages(s)
	cancel(err)                  // before anything closes: whoever works meets that as an error too, and the first counts
	end.err = context.Cause(ctx) // the first of all errors
	if end.wasLive && redisconn.CauseOf(end.err) == redisconn.CauseTimeout {
		// A worker's further connection was the first to meet the silence.
		end.err = &redisconn.CauseError{Cause: redisconn.CauseBlackHole, Err: end.err}
	}
	end.connected = target.Connected()
	if last := target.Activity().LastRead; !last.IsZero() {
		end.silent = time.Since(last)
	}
	if end.wasLive {
		l.enter(Down, end.err) // at once: a worker may take a moment to return
	}
	target.Close()
	for _, c := range slices.Backward(s.opened) {
		_ = c.Close()
	}
	if stuck := l.join(s); stuck != nil {
		end.err = stuck
		return end
	}
	if s.last != nil {
		_ = s.last.Close()
	}
	return end
}

// stages takes the session through its states, stays while it is LIVE, and
// returns why it is over.
func (l *Link) stages(s *Session) (wasLive bool, err error) {
	s.target.Limit(redisconn.Limits{Message: l.cfg.MaxMessage, Reply: l.cfg.MaxReply, TooLarge: l.tooLarge, Denied: l.denied})
	control := s.target.Client(redisconn.Control)
	s.opened = append(s.opened, control)
	p := newProber(l.cfg.Name, l.cfg.Redis, s)
	s.probe = p.channel

	ps := control.Subscribe(s.ctx) // no channel yet: nothing is sent
	s.opened = append(s.opened, ps)
	if err := l.subscribe(s, ps, p); err != nil {
		return false, err
	}
	l.enter(Subscribed, nil)

	s.data = s.target.Client(redisconn.Data)
	p.conn = s.data.Conn()
	s.opened, s.last = append(s.opened, s.data), p.conn
	admitted := l.startAdmit(s)
	rtt, err := p.once()
	if err != nil {
		return false, err
	}
	l.noteEcho(p.asks.Load())
	if err := p.watch(func(time.Duration) {}, admitted); err != nil {
		return false, err
	}
	l.live(s, rtt)
	for i, w := range l.cfg.Workers {
		s.workers.run(w.Name, func() {
			if err := l.work(s, l.slots[i], w.Run); err != nil {
				s.Fail(fmt.Errorf("%s: %w", w.Name, err))
			}
		})
	}
	return true, p.watch(l.probed, nil)
}

// startAdmit runs Admit while probes go on: it may take a while, and a
// server may freeze meanwhile. The first of them is under way at the same time,
// so that on a long line LIVE need not wait for one after the other.
func (l *Link) startAdmit(s *Session) <-chan error {
	done := make(chan error, 1)
	if l.cfg.Admit == nil {
		close(done)
		return done
	}
	s.workers.run("admit", func() {
		err := l.work(s, l.admit, l.cfg.Admit)
		if err != nil {
			err = fmt.Errorf("admit session: %w", err)
		}
		done <- err
	})
	return done
}

// subscribe sends one SUBSCRIBE for everything, starts the receiver, and waits
// for every confirmation.
func (l *Link) subscribe(s *Session, ps *redis.PubSub, p *prober) error {
	handlers := map[string]func([]byte, time.Time){p.channel: p.echo}
	channels := []string{p.channel}
	for _, sub := range l.cfg.Subscriptions {
		handlers[sub.Channel] = sub.Handle
		channels = append(channels, sub.Channel)
	}
	if err := s.target.Guarded(redisconn.Control, func() error { return ps.Subscribe(s.ctx, channels...) }); err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	confirmed := make(chan struct{})
	s.core.run("receive", func() { s.Fail(receive(s, ps, handlers, len(channels), confirmed)) })

	timer := time.NewTimer(l.cfg.Redis.CheckTimeout)
	defer timer.Stop()
	select {
	case <-confirmed:
		return nil
	case <-timer.C:
		return silence(s.target.Activity(), "no answer to SUBSCRIBE", l.cfg.Redis.CheckTimeout)
	case <-s.ctx.Done():
		return context.Cause(s.ctx)
	}
}

var errUnsubscribed = errors.New("a subscription was ended by Redis")

// receive hands on what arrives until the connection ends. It sets no deadline:
// one that expires inside a payload would desynchronise the protocol.
func receive(
	s *Session, ps *redis.PubSub, handlers map[string]func([]byte, time.Time), missing int, confirmed chan<- struct{},
) error {
	for {
		var m any
		err := s.target.Guarded(redisconn.Control, func() (err error) {
			m, err = ps.Receive(s.ctx)
			return err
		})
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		switch m := m.(type) {
		case *redis.Message:
			if handle := handlers[m.Channel]; handle != nil {
				handle(payload(m), time.Now())
			}
		case *redis.Subscription:
			if m.Kind != "subscribe" {
				return fmt.Errorf("%w: %s %s", errUnsubscribed, m.Kind, m.Channel)
			}
			if missing--; missing == 0 {
				close(confirmed)
			}
		}
	}
}

// payload is the message's bytes without copying them: go-redis made the
// string for this message alone and drops it after the handler has it.
func payload(m *redis.Message) []byte {
	if m.Payload == "" {
		return nil
	}
	return unsafe.Slice(unsafe.StringData(m.Payload), len(m.Payload))
}
