package outbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// simLife is one process of the agent, as far as the frame log goes: the real Claim,
// Log, Journal, Spooler and writers, driven step by step, and a link of the simplest
// kind.
type simLife struct {
	world  *simWorld
	number int
	began  time.Duration

	claim     *Claim
	log       *Log
	spool     *simSpool // nil: it could not be opened
	spooler   *Spooler
	writer    *StreamWriter  // nil with delivery pubsub
	channel   *ChannelWriter // nil otherwise
	publisher *Publisher

	session     *simSession   // nil: none
	live        time.Duration // since when there is a session
	failures    int           // of sessions, one after the other
	saved       time.Duration // when the journal was last written; below 0: never
	saves       int           // how often it was
	renumbered  int           // and had been when the epoch was last changed
	ending      bool
	lostReplies int
	muted       bool          // PUBLISH was refused
	replaced    bool          // another state was put in the stream's place: how many entries it has is known, but not always how large they are
	refusing    time.Duration // since when every request is refused for want of room; 0: none is
	requests    []*simRequest
}

// session begins or ends the link's one.
func (l *simLife) cut() {
	if l.session != nil {
		l.session.ended = true
	}
	for _, a := range l.world.actors {
		if a.name == "link" {
			a.from, a.due = l.world.now, l.world.now
		}
	}
}

// link dials as long as there is no session, and admits a new one.
func (l *simLife) link() (wait, rest time.Duration) {
	w := l.world
	if l.session != nil && !l.session.ended {
		return time.Second, 0
	}
	if l.session != nil {
		l.endSession()
		return w.backoff(1), 0
	}
	if !w.redis.up {
		l.failures++
		return w.backoff(l.failures), 0
	}
	s := &simSession{redis: w.redis}
	if l.writer != nil {
		if err := l.writer.admit(context.Background(), &simConn{s}); err != nil {
			w.trace.note("session not admitted: %v", err)
			l.failures++
			return w.backoff(l.failures), 0
		}
	}
	if l.writer != nil {
		l.writer.begin()
	} else {
		l.channel.begin()
	}
	l.session, l.live, l.failures = s, w.now, 0
	w.trace.note("session begins")
	for _, a := range w.actors {
		if a.life == l.number {
			a.from, a.due = w.now, min(a.due, w.now)
		}
	}
	return time.Second, 0
}

func (w *simWorld) backoff(failures int) time.Duration {
	return w.rng.between(50*time.Millisecond, min(time.Duration(failures)*100*time.Millisecond, 2*time.Second)+100*time.Millisecond)
}

func (l *simLife) endSession() {
	l.session = nil
	l.lostReplies++ // what was on its way may have arrived
	if l.writer != nil {
		l.writer.end()
	} else {
		l.channel.end()
	}
}

// up is the session, nil if there is none.
func (l *simLife) up() *simSession {
	if l.session == nil || l.session.ended {
		return nil
	}
	return l.session
}

// outcome is what a worker's step means for the session.
func (l *simLife) outcome(pause time.Duration, err error) (wait, rest time.Duration) {
	switch {
	case err != nil:
		if !isConnectionEnd(err) {
			l.world.ledger.fail("a worker ends the session because of %v", err)
		}
		l.world.trace.note("session ends: %v", err)
		l.cut()
		return time.Second, 0
	case pause == idle:
		return 0, time.Hour // until it is woken
	default:
		return pause, 0
	}
}

// write is a step of the writer of stream or channel.
func (l *simLife) write() (wait, rest time.Duration) {
	s := l.up()
	switch {
	case s == nil:
		return time.Second, 0
	case l.writer != nil:
		return l.outcome(l.writer.step(context.Background(), &simConn{s}, l.world.redis.test))
	default:
		return l.outcome(l.channel.step(context.Background(), &simChannel{s}, l.world.redis.test))
	}
}

// publish is a step of a lane of the Publisher.
func (l *simLife) publish(lane *lane) (wait, rest time.Duration) {
	s := l.up()
	if s == nil {
		return time.Second, 0
	}
	return l.outcome(l.publisher.step(context.Background(), &simChannel{s}, lane, l.world.redis.test))
}

// after is called after each step of anybody: who is woken is due now, and what may
// never be is looked at.
func (l *simLife) after() {
	w := l.world
	if l.publisher == nil {
		return // it is just starting
	}
	for _, a := range w.actors {
		select {
		case <-a.wake:
			a.woken = true
		default:
		}
	}
	if l.log.mu.TryLock() {
		l.log.mu.Unlock()
		l.bounded()
	}
}

// bounded checks the memory that the log takes: the limit, the newest frame, and one
// that was just read from disk.
func (l *simLife) bounded() {
	w := l.world
	size := l.log.Stats().MemorySize
	l.log.mu.Lock()
	sent := l.log.held[inMemoryAndDisk][inFlight] // read from disk: it leaves by itself
	l.log.mu.Unlock()
	if most := w.setup.retain + 2*w.largest + sent + l.awaiting(); size > most {
		w.ledger.fail("the log takes %d bytes of memory, %d are allowed with %d awaiting publication", size, w.setup.retain, l.awaiting())
	}
}

// awaiting is what awaits publication, in bytes.
func (l *simLife) awaiting() int64 {
	l.log.mu.Lock()
	defer l.log.mu.Unlock()
	return l.log.sum(awaitingPublish)
}

// locked reports whether a lock of the code under test is held: nobody else could
// work now.
func (l *simLife) locked() bool {
	if l.publisher == nil {
		return true // it is just starting
	}
	for _, mu := range []*sync.Mutex{&l.log.mu, &l.claim.mu, &l.claim.journal.mu} {
		if !mu.TryLock() {
			return true
		}
		mu.Unlock()
	}
	return false
}

// drained reports whether everything was sent.
func (l *simLife) drained() bool {
	answers, frames := l.publisher.Stats()
	return l.up() != nil && l.log.Stats().Unsent == 0 && answers.Waiting+frames.Waiting == 0
}

// publishable is since when answers could be published without hindrance.
func (l *simLife) publishable() time.Duration {
	w := l.world
	if l.up() == nil || w.redis.mute != nil || w.redis.cutting > 0 || w.redis.killing > 0 || w.disk.killing > 0 {
		l.live = max(l.live, w.now)
	}
	return l.live
}

func (l *simLife) describe() string {
	if l == nil {
		return "no process runs"
	}
	text := fmt.Sprintf("%+v, session %v", l.log.Stats(), l.up() != nil)
	if l.writer != nil {
		text += fmt.Sprintf(", %+v", l.writer.Status())
	}
	return text
}

// isConnectionEnd reports whether an error of a worker is a reason to end the session.
func isConnectionEnd(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, replyReadOnly) }
