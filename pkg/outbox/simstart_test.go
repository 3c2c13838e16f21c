package outbox

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/pkg/frame"
)

// start starts a process, as internal/agent does.
func (w *simWorld) start() {
	if w.life != nil {
		return
	}
	w.now += w.rng.between(2*time.Second, 4*time.Second) // no two starts within one second
	w.lives++
	w.counts.lives++
	w.ledger.starts = append(w.ledger.starts, w.now)
	log := zerolog.Nop()
	if w.trace.print != nil {
		log = zerolog.New(simLogWriter{w})
	}
	l := &simLife{world: w, number: w.lives, began: w.now, saved: -1}
	w.life = l
	w.trustClock()
	lock, err := os.Open(os.DevNull) // the lock is not what is tested
	if err != nil {
		panic(err)
	}
	l.claim = &Claim{Instance: "i", StateID: "s", lock: lock, now: w.instant, log: log}
	l.claim.begin(&simStateFile{w.disk, &w.disk.state, l.number}, &simStateFile{w.disk, &w.disk.journal, l.number}, w.wall())
	clock := frame.NewClock()
	l.log = NewLog(LogConfig{
		Camera: "cam", Limit: w.setup.retain, Stream: w.setup.stream(), DiskFirst: w.setup.sync == SyncAlways, Clock: clock, Now: w.instant, Claim: l.claim, Log: log,
	})
	l.log.renumbered = w.ledger.moved
	l.openSpool(log)
	ceiling := NewCeiling(log)
	ceiling.now = w.instant
	if w.setup.mode.Streams() {
		l.writer = NewStreamWriter(StreamWriterConfig{Key: "frames:cam", Ceiling: ceiling, Now: w.instant, Log: log}, l.log)
	} else {
		l.channel = NewChannelWriter(ChannelWriterConfig{Topic: "stream/cam", Wire: w.setup.wire(), Ceiling: ceiling, Log: log}, l.log)
	}
	l.publisher = NewPublisher(PublisherConfig{Topic: "stream/cam", Limit: w.setup.retain, Wire: w.setup.wire(), Ceiling: ceiling, Log: log}, l.log)
	l.begin()
	w.highest = max(w.highest, l.log.Epoch())
	w.trace.note("start %d with epoch %d", l.number, l.log.Epoch())
}

// trustClock is before a start that knows no epoch but by the clock: it is not behind
// then, because nothing is promised if it is.
func (w *simWorld) trustClock() {
	if w.disk.unreadable = w.disk.read() != nil; !w.unsaved && !w.disk.unreadable {
		return
	}
	w.ledger.forgotten()
	highest := w.highest
	for id := range w.ledger.given {
		highest = max(highest, id.Epoch)
	}
	if behind := int64(highest) + 1 - w.wall().Unix(); behind > 0 { //nolint:gosec // it is a time, or a stranger's
		const plausible = 1e9
		if behind > plausible {
			panic(voided{})
		}
		w.offset += time.Duration(behind) * time.Second
	}
}

// voided ends a run that has come to where nothing is promised.
type voided struct{}

// begin adds the process's actors.
func (l *simLife) begin() {
	w := l.world
	add := func(a simActor) {
		a.life, a.due = l.number, w.now
		w.actors = append(w.actors, &a)
	}
	add(simActor{name: "link", step: l.link})
	add(simActor{name: "writer", step: l.write, wake: l.log.sendable})
	add(simActor{name: "answers", step: func() (wait, rest time.Duration) { return l.publish(&l.publisher.answers) }, wake: l.publisher.answers.wake})
	add(simActor{name: "frames", step: func() (wait, rest time.Duration) { return l.publish(&l.publisher.frames) }, wake: l.publisher.frames.wake})
	add(simActor{name: "journal", step: func() (wait, rest time.Duration) {
		l.claim.journal.tick(l.log, w.instant())
		return time.Second, 0
	}})
	add(simActor{name: "claim", step: func() (wait, rest time.Duration) {
		if !l.claim.EpochSaved && w.disk.healthy() && l.claim.Complete(l.log) == nil {
			l.claim.EpochSaved = true
		}
		return time.Second, 0
	}})
	if l.spooler != nil {
		add(simActor{name: "spooler", step: func() (wait, rest time.Duration) {
			return max(l.spooler.step(w.instant()), 0), time.Second
		}, wake: l.log.spoolable})
	}
	add(simActor{name: "camera", step: l.capture})
	add(simActor{name: "requests", step: w.ask})
}

// openSpool opens the spool where it is, which may be elsewhere than configured.
func (l *simLife) openSpool(log zerolog.Logger) {
	w := l.world
	dir := w.spoolDir
	if before := l.claim.Spool; before != "" && before != dir {
		dir = w.moveSpool(before, dir)
	}
	for name, other := range w.disk.stores {
		if l.claim.unread && name != dir && len(other.files) > 0 {
			panic(voided{}) // nobody finds those as long as others are in this one
		}
	}
	s, losses, err := openSimSpool(w.disk, dir, l.number, w.setup.spoolMax, w.setup.spoolAge)
	if err != nil {
		w.trace.note("the spool cannot be opened: %v", err)
		l.log.WithoutSpool()
		return
	}
	l.spool = s
	// A kill between a move and this would need a second change of spool_dir before the
	// next start to hide the frames.
	w.guarded++
	_ = l.claim.SetSpool(dir) // logged by the agent
	w.guarded--
	l.spooler = NewSpooler(l.log, s, losses, log)
}

// moveSpool moves frames from one directory to another, if that is a rename; it
// returns where they are.
func (w *simWorld) moveSpool(from, to string) string {
	switch {
	case len(w.disk.stores[from].files) == 0:
		return to
	case w.setup.sameDisk && len(w.disk.stores[to].files) == 0 && w.disk.healthy():
		w.trace.note("the spool moves from %s to %s", from, to)
		w.disk.stores[to] = w.disk.stores[from]
		w.disk.stores[from] = &simStore{}
		return to
	default:
		return from
	}
}

// simLogWriter puts log lines into the printed trace, but not into its hash.
type simLogWriter struct{ w *simWorld }

func (s simLogWriter) Write(line []byte) (int, error) {
	s.w.trace.print(fmt.Sprintf("%12.3f   log: %s", s.w.now.Seconds(), line[:len(line)-1]))
	return len(line), nil
}

// end is an orderly end: what is pending is sent within 4 s if there is a session,
// the rest goes to disk, and the claim is released.
func (w *simWorld) end() {
	l := w.life
	if l == nil {
		return
	}
	w.trace.note("the process is told to end")
	l.ending = true
	if l.up() != nil {
		for until := w.now + 4*time.Second; w.now < until && !l.drained() && l.up() != nil; {
			w.run(50 * time.Millisecond)
		}
	}
	l.cut()
	if l.session != nil {
		l.endSession()
	}
	w.remove(l.number)
	if l.spooler != nil {
		l.spooler.end()
		if losses, err := l.spool.Sync(); err != nil {
			w.trace.note("the spool could not be closed: %v, %v", losses, err)
		}
	}
	_, all := l.log.Persisted()
	if l.spool != nil && all && l.log.Stats().Unsent == 0 {
		l.claim.Spool = ""
	}
	saving := w.now
	l.claim.Release(l.log, all)
	w.life = nil
	if l.saved < saving {
		w.trace.note("the end could not be saved")
		w.ledger.crashed(l)
	}
}

// remove takes a process's actors away.
func (w *simWorld) remove(life int) {
	var left []*simActor
	for _, a := range w.actors {
		if a.life != life {
			left = append(left, a)
		}
	}
	w.actors = left
}

// crash is kill -9, or a power cut.
func (w *simWorld) crash(power bool) {
	l := w.life
	if l == nil {
		return
	}
	w.trace.note("killed, power cut: %v", power)
	w.remove(l.number)
	w.life = nil
	w.counts.kills++
	if power {
		w.counts.kills--
		w.counts.powerCuts++
		w.disk.powerCut(w.rng)
	}
	if l.claim != nil && l.claim.lock != nil {
		_ = l.claim.lock.Close()
	}
	w.ledger.crashed(l)
}

// stream is the bound of the stream; there is none with delivery pubsub.
func (s simSetup) stream() int64 {
	if s.mode.Streams() {
		return s.streamMax
	}
	return 0
}

// wire is what is published of a message.
func (s simSetup) wire() Wire {
	if !s.pickled {
		return nil
	}
	return func(_ context.Context, m *frame.Message) ([]byte, error) {
		return append([]byte(simPickle), m.Wire()...), nil
	}
}

var _ Store = (*simSpool)(nil)
