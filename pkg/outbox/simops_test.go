package outbox

import (
	"encoding/json"
	"time"
)

// simKind is what an operation does.
type simKind string

// simKinds are all operations, and how often they come.
var simKinds = []struct {
	kind   simKind
	weight int
	always bool // no plan leaves it out
	do     func(*simWorld)
}{
	{"run", 40, true, func(w *simWorld) { w.run(w.rng.between(10*time.Millisecond, 20*time.Second)) }},
	{"run long", 1, false, func(w *simWorld) { w.idle() }},
	{"pace", 6, false, func(w *simWorld) { w.pace() }},
	{"ask", 6, false, func(w *simWorld) { w.asking = oneOf(w.rng, 0, 200*time.Millisecond, time.Second, 10*time.Second) }},
	{"end", 4, true, func(w *simWorld) { w.end() }},
	{"kill", 4, true, func(w *simWorld) { w.crash(false) }},
	{"power cut", 4, true, func(w *simWorld) { w.crash(true) }},
	{"start", 12, true, func(w *simWorld) { w.start() }},
	{"clock", 2, false, func(w *simWorld) { w.stepClock() }},
	{"move spool", 2, false, func(w *simWorld) { w.configure(oneOf(w.rng, "a", "b")) }},

	{"redis away", 8, true, func(w *simWorld) { w.fault("redis is away"); w.redis.up = false }},
	{"redis back", 14, true, func(w *simWorld) { w.redis.up = true }},
	{"redis refuses", 5, true, func(w *simWorld) {
		w.fault("redis refuses")
		w.redis.refuse = oneOf[error](w.rng, replyOOM, replyNoPerm, replyReadOnly, replyMisconf)
	}},
	{"redis accepts", 8, true, func(w *simWorld) { w.redis.refuse = nil }},
	{"channel refused", 2, false, func(w *simWorld) { w.fault("PUBLISH is refused"); w.redis.mute = replyNoPerm }},
	{"channel accepted", 4, false, func(w *simWorld) { w.redis.mute = nil; w.relieved() }},
	{"subscribers", 3, false, func(w *simWorld) { w.redis.members = int64(oneOf(w.rng, 0, 1, 1, 2)) }},
	{"cutting", 4, false, func(w *simWorld) { w.fault("sessions are cut"); w.redis.cutting = oneOf(w.rng, 2, 10, 30) }},
	{"no cutting", 6, false, func(w *simWorld) { w.redis.cutting = 0; w.relieved() }},
	{"killing", 2, false, func(w *simWorld) { w.redis.killing, w.disk.killing = oneOf(w.rng, 0, 2, 20), oneOf(w.rng, 0, 2, 20) }},
	{"copy", 6, false, func(w *simWorld) { w.redis.save() }},
	{"restore", 2, false, func(w *simWorld) { w.fault("an older copy"); w.redis.restore(w.rng); w.failover() }},
	{"lose tail", 3, false, func(w *simWorld) { w.fault("a lost tail"); w.redis.loseTail(w.rng); w.failover() }},
	{"flush", 2, false, func(w *simWorld) { w.fault("FLUSHALL"); w.redis.flush() }},
	{"stranger", 1, false, func(w *simWorld) { w.fault("a foreign writer"); w.redis.stranger() }},
	{"del", 3, false, func(w *simWorld) { w.operator() }},

	{"disk full", 4, false, func(w *simWorld) { w.fault("the disk is full"); w.disk.full = true }},
	{"disk read-only", 2, false, func(w *simWorld) { w.fault("the disk is read-only"); w.disk.readOnly = true }},
	{"no spool", 3, false, func(w *simWorld) { w.fault("the spool's disk is not mounted"); w.disk.unmounted = true; w.restart() }},
	{"disk errors", 3, false, func(w *simWorld) { w.fault("the disk fails"); w.disk.failing = oneOf(w.rng, 5, 30, 100) }},
	{"descriptors", 3, false, func(w *simWorld) { w.fault("no descriptors"); w.disk.starved = true }},
	{"disk well", 14, false, func(w *simWorld) { w.disk.heal() }},
	{"bit rot", 1, false, func(w *simWorld) { w.damage() }},

	{"reader lags", 4, false, func(w *simWorld) { w.readers[1].lag = oneOf(w.rng, 0, time.Second, time.Minute) }},
	{"reader restarts", 3, false, func(w *simWorld) { w.readers[w.rng.IntN(2)].restart() }},
	{"reader's disk", 2, false, func(w *simWorld) { w.readers[w.rng.IntN(2)].failing = oneOf(w.rng, 0, 0, 20) }},
}

// configure changes spool_dir, but not away from frames in a directory that could not be
// saved: it is logged that they will not be found then.
func (w *simWorld) configure(dir string) {
	var saved savedState
	_ = json.Unmarshal(w.disk.state.data, &saved) // of no start yet
	store := w.disk.stores[w.spoolDir]
	used := w.life != nil && w.life.spool != nil && w.life.spool.store == store
	if saved.Spool == w.spoolDir || !used && len(store.files) == 0 {
		w.spoolDir = dir
	}
}

// restart ends the process, if there is one, and starts another.
func (w *simWorld) restart() {
	w.end()
	w.start()
}

// relieved notes that answers can be published from now on.
func (w *simWorld) relieved() {
	if w.life != nil {
		w.life.live = w.now
	}
}

// fault counts what goes wrong.
func (w *simWorld) fault(what string) {
	w.trace.note("fault: %s", what)
	w.counts.faults++
}

// every sets how often the camera gives a frame.
func (w *simWorld) every(interval time.Duration) {
	w.interval = interval
	for _, a := range w.actors {
		if a.name == "camera" {
			a.due = w.now
		}
	}
}

// pace changes how fast frames come and how large they are.
func (w *simWorld) pace() {
	w.every(w.rng.between(20*time.Millisecond, 5*time.Second))
	w.size = int64(8 + w.rng.IntN(int(w.setup.retain/10)))
	w.growth = int64(oneOf(w.rng, 0, 0, 0, 1, 5))
}

// idle is a long time without much happening.
func (w *simWorld) idle() {
	interval, asking := w.interval, w.asking
	w.asking = 0
	w.every(w.rng.between(time.Minute, 10*time.Minute))
	w.run(w.rng.between(time.Minute, 3*time.Hour))
	w.asking = asking
	w.every(interval)
}

// stepClock sets the wall clock forward or back.
func (w *simWorld) stepClock() {
	by := w.rng.between(time.Second, 48*time.Hour)
	if w.rng.percent(50) {
		by = -by
	}
	w.fault("the clock steps by " + by.String())
	w.offset += by
}

// failover ends every session, as a Redis that restarts does.
func (w *simWorld) failover() {
	if w.life != nil {
		w.life.cut()
	}
	for _, r := range w.readers {
		if r.session != nil {
			r.session.ended = true
		}
	}
}

// operator sees the foreign writer's entries and deletes the stream, as the log advises.
func (w *simWorld) operator() {
	if w.redis.foreign() {
		w.redis.flush()
	}
}

// damage is bit rot in a file of the spool.
func (w *simWorld) damage() {
	s := w.disk.stores[oneOf(w.rng, "a", "b")]
	if len(s.files) > 0 {
		f := s.files[w.rng.IntN(len(s.files))]
		f.torn = true
		w.fault("bit rot in " + f.id.String())
	}
}
