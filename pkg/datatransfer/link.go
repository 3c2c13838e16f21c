// Package datatransfer moves messages over Redis without going deaf. Its Link
// promises that it is LIVE only while a message published through the data
// connection demonstrably arrives on the subscription, that silence is noticed
// within connection_check_interval + connection_check_timeout, and that a lost
// session is replaced as a whole. Everything that writes or reads does so as a
// Worker of a session and ends with it. The package knows nothing of cameras;
// agent, controller and client all use the same Link.
//
// Why sessions are never repaired: the first error that anybody in one meets
// ends it, all its connections close at once, and the next begins from nothing.
// So there is no state in which a connection works and its subscriptions are
// gone. An acknowledged byte proves a kernel and not Redis: it excuses a late
// probe only while more is on its way. Once the PUBLISH is answered, only bytes
// on the subscription's own connection excuse the message's absence; otherwise a
// busy data connection would hide a deaf subscription. A worker that hangs
// outside of Redis is abandoned and named; a Handle that blocks cannot be, so
// the link ends with ErrStuck, and the process with it.
package datatransfer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/rs/zerolog"

	"framekeeper/internal/text"
	"framekeeper/pkg/redisconn"
)

// Subscription is one channel and what happens with its messages. Handle is
// called from the goroutine that receives, in order, and must not block; the
// payload is the callee's to keep.
type Subscription struct {
	Channel string
	Handle  func(payload []byte, arrived time.Time)
}

// Worker does something for as long as a session is LIVE. Its context ends
// with the session. An error it returns before that ends the session; nil means
// that it has nothing more to do until the next one. One that does not return
// does without the link until it does; the link does not wait for it.
type Worker struct {
	Name string
	Run  func(ctx context.Context, s *Session) error
}

// LinkConfig says what a link connects, hears and does.
type LinkConfig struct {
	Redis         redisconn.Config
	Name          string // probe/<Name>/<nonce> is the link's own channel
	Subscriptions []Subscription
	// MaxMessage and MaxReply bound what comes whole from a subscription and as
	// the answer to a command: a longer value comes empty, costs no memory, and is logged.
	// 0: whatever comes.
	MaxMessage, MaxReply int64
	// Admit, if set, looks around on each new session's data client before the
	// link may be LIVE. A FatalError ends the link, any other the session.
	Admit   func(ctx context.Context, s *Session) error
	Workers []Worker
	// Optional are commands, as ACL rules name them (xinfo|stream), with the feature that
	// is off where Redis does not permit them: that is logged.
	Optional map[string]string
	// OnOutage and OnRecovery, if set, are called at each end of a LIVE session and each
	// time the link is LIVE again after one. They must not block, nor call the link.
	OnOutage, OnRecovery func(Outage)
	Log                  zerolog.Logger
}

// FatalError ends a link for good.
type FatalError struct{ Err error }

func (e *FatalError) Error() string { return e.Err.Error() }
func (e *FatalError) Unwrap() error { return e.Err }

// Link keeps one session with Redis after the other.
type Link struct {
	cfg LinkConfig

	mu      sync.Mutex      // guards the next five
	largeAt time.Time       // when a value that is too large was last logged
	lacking map[string]bool // the optional commands that were denied
	status  LinkStatus
	session *Session      // the one that is LIVE, or nil
	changed chan struct{} // closed and replaced at each change of state

	// Only Run's goroutine and what it starts use these.
	outage  outage
	slots   []slot      // of the workers
	admit   slot        // of Admit
	opening chan opened // a session's files are being read
	noEcho  bool        // and that is logged
}

// NewLink prepares a link; Run begins it.
func NewLink(cfg LinkConfig) *Link {
	l := &Link{
		cfg:     cfg,
		admit:   make(slot, 1),
		status:  LinkStatus{State: Down, Since: time.Now(), Moved: time.Now()},
		changed: make(chan struct{}),
		lacking: map[string]bool{},
		outage:  newOutage(cfg.Log),
	}
	for range cfg.Workers {
		l.slots = append(l.slots, make(slot, 1))
	}
	return l
}

// Run keeps the link until ctx ends, then returns nil. It returns an error only
// when Admit refused with a FatalError, or a Handle does not return (ErrStuck).
func (l *Link) Run(ctx context.Context) error {
	wait := newBackoff(l.cfg.Redis.BackoffMin, l.cfg.Redis.BackoffMax)
	for {
		began := time.Now()
		end := l.runSession(ctx)
		if ctx.Err() != nil {
			l.enter(Down, nil)
			return nil
		}
		var fatal *FatalError
		if errors.As(end.err, &fatal) {
			l.enter(Down, end.err)
			return fatal
		}
		l.lost(end)
		if end.wasLive && time.Since(began) > l.cfg.Redis.CheckInterval {
			wait.reset()
		}
		if !wait.sleep(ctx, patience(redisconn.CauseOf(end.err))) {
			l.enter(Down, nil)
			return nil
		}
		l.outage.attempting(l.Status())
	}
}

// patience is the least wait before a session is tried again. What only an
// operator can change need not be asked for seven times a second.
func patience(c redisconn.Cause) time.Duration {
	switch c {
	case redisconn.CausePassword, redisconn.CausePermission, redisconn.CauseConfig, redisconn.CauseTLS:
		return 500 * time.Millisecond
	default:
		return 0
	}
}

// Status is the link as it is now.
func (l *Link) Status() LinkStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.status
}

// Session is the one that is LIVE, or nil.
func (l *Link) Session() *Session {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.session
}

// Changed is closed at the next change of state.
func (l *Link) Changed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

// WaitLive waits until the link is LIVE. When ctx ends first, the error says
// what keeps the link from it.
func (l *Link) WaitLive(ctx context.Context) error {
	for {
		changed := l.Changed()
		s := l.Status()
		if s.State == Live {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			if s = l.Status(); s.Cause == redisconn.CauseNone {
				return fmt.Errorf("reach Redis at %s: %w", l.cfg.Redis.Shown(), ctx.Err())
			}
			return fmt.Errorf("reach Redis at %s: %s; %s", l.cfg.Redis.Shown(), strings.TrimSuffix(s.Detail, "."), s.Cause.Advice())
		}
	}
}

// update changes the status and wakes those who wait for a change.
func (l *Link) update(change func(*LinkStatus)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.status.State
	change(&l.status)
	l.status.Moved = time.Now()
	if l.status.State != Live {
		l.session = nil
	}
	if l.status.State != before {
		if before == Live || l.status.State == Live {
			l.status.Since = l.status.Moved
		}
		l.status.Changes++
		close(l.changed)
		l.changed = make(chan struct{})
	}
}

func (l *Link) enter(s State, err error) {
	l.update(func(st *LinkStatus) {
		st.State = s
		if err != nil {
			st.Cause, st.Detail = redisconn.CauseOf(err), detail(err)
		}
	})
}

// probed is called with each probe that has come back.
func (l *Link) probed(rtt time.Duration) {
	l.update(func(st *LinkStatus) { st.RTT = rtt })
	l.outage.settled(l.Status(), time.Now())
}

// live is called by a session whose first probe has come back.
func (l *Link) live(s *Session, rtt time.Duration) {
	now := time.Now()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.session = s
	}()
	l.update(func(st *LinkStatus) {
		if st.Outages > 0 && st.LastOutage.Lasted == 0 {
			st.LastOutage.Lasted = now.Sub(st.LastOutage.At)
			call(l.cfg.OnRecovery, st.LastOutage)
		}
		l.outage.over(*st, now)
		st.State, st.Cause, st.Detail = Live, redisconn.CauseNone, ""
		st.Attempts, st.RTT = 0, rtt
		st.Sessions++
	})
}

// lost is called when a session has ended, LIVE or not.
func (l *Link) lost(end ending) {
	now := time.Now()
	l.update(func(st *LinkStatus) {
		st.State = Down
		st.Cause, st.Detail = redisconn.CauseOf(end.err), detail(end.err)
		st.Attempts++
		if end.wasLive {
			st.Outages++
			st.LastOutage = Outage{At: now, Silent: end.silent, Cause: st.Cause}
			call(l.cfg.OnOutage, st.LastOutage)
		}
	})
	l.outage.noticed(end, l.Status(), l.cfg.Redis.Shown(), now)
}

// maxDetail is how many characters of an error are shown: a part of it may be the
// server's.
const maxDetail = 800

func detail(err error) string { return text.Printable(err.Error(), maxDetail) }

func call(observer func(Outage), l Outage) {
	if observer != nil {
		observer(l)
	}
}

// backoffWait is the pause between two sessions: exponential, jittered, bounded.
type backoffWait struct{ b *backoff.ExponentialBackOff }

func newBackoff(low, high time.Duration) backoffWait {
	const jitter = 0.4 // either way; the longest wait is high, not above it
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval = low, time.Duration(float64(high)/(1+jitter))
	b.Multiplier, b.RandomizationFactor = 2, jitter
	b.Reset()
	return backoffWait{b}
}

func (w backoffWait) reset() { w.b.Reset() }

// sleep waits for the next pause, at least for least; false when ctx ends first.
func (w backoffWait) sleep(ctx context.Context, least time.Duration) bool {
	t := time.NewTimer(max(w.b.NextBackOff(), least))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
