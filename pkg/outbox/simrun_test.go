package outbox

import (
	"fmt"
	"runtime/debug"
	"time"
)

// simResult is the outcome of a run.
type simResult struct {
	hash      uint64
	counts    simCounts
	violation string // "": none
}

// newSimWorld is the world of a plan before anything has happened.
func newSimWorld(p simPlan, print func(string)) *simWorld {
	rng := newSimRandom(p.seed, 3)
	retain := int64(oneOf(rng, 2000, 8000, 8000, 32000))
	w := &simWorld{
		rng: rng, spoolDir: "a", interval: 300 * time.Millisecond,
		setup: simSetup{
			mode:   oneOf(rng, ModeStream, ModeStream, ModeStream, ModeBoth, ModePubSub),
			retain: retain, streamMax: oneOf[int64](rng, 4000, 20000, 100000, 1<<20), spoolMax: oneOf[int64](rng, 3000, 30000, 1<<20, 1<<20),
			spoolAge: oneOf(rng, 0, time.Minute, time.Hour, 24*time.Hour), sync: oneOf(rng, SyncBatch, SyncBatch, SyncBatch, SyncAlways),
			sameDisk: rng.percent(50), pickled: rng.percent(20),
		},
	}
	w.size = retain / 40
	w.trace = simTrace{print: print, now: func() time.Duration { return w.now }}
	w.ledger = newSimLedger(w)
	w.redis = &simRedis{world: w, up: true, members: 1}
	w.disk = newSimDisk(w)
	w.readers = []*simReader{newSimReader(w, "prompt"), newSimReader(w, "lagging")}
	w.readers[1].lag = 10 * time.Second
	for _, r := range w.readers {
		w.actors = append(w.actors, &simActor{name: r.name, step: r.step})
	}
	w.counts.runs = 1
	w.trace.note("setup %+v", w.setup)
	return w
}

// simulate runs a plan to its end and accounts for every frame.
func simulate(p simPlan, print func(string)) (r simResult) {
	w := newSimWorld(p, print)
	defer func() {
		switch v := recover().(type) {
		case nil, voided:
		case violation:
			r.violation = string(v)
		default:
			r.violation = fmt.Sprintf("panic: %v", v)
			if print != nil {
				print(string(debug.Stack()))
			}
		}
		w.counts.simulated = w.now
		r.hash, r.counts = w.trace.hash, w.counts
	}()
	w.operate(w.start)
	for _, op := range p.ops {
		w.rng = newSimRandom(op.seed, 2)
		w.counts.operations++
		w.trace.note("operation: %s", op.kind)
		w.operate(func() { op.kind.do(w) })
	}
	w.finish()
	return r
}

// do carries an operation out.
func (k simKind) do(w *simWorld) {
	for _, known := range simKinds {
		if known.kind == k {
			known.do(w)
		}
	}
}

// heal repairs the disk.
func (d *simDisk) heal() {
	d.full, d.readOnly, d.unmounted, d.starved, d.failing = false, false, false, false, 0
	d.since = d.world.now
}

// finish takes away every fault, lets everything drain, and draws the account.
func (w *simWorld) finish() {
	w.trace.note("operation: the end")
	w.redis.up, w.redis.refuse, w.redis.mute, w.redis.cutting, w.redis.killing = true, nil, nil, 0, 0
	w.disk.heal()
	w.disk.killing = 0
	w.redis.members = max(w.redis.members, 1)
	w.asking, w.readers[1].lag = 0, 0
	for _, r := range w.readers {
		r.failing = 0
	}
	for _, a := range w.actors {
		a.due = min(a.due, w.now+time.Second)
	}
	w.operator()
	if w.life != nil && w.life.spool == nil { // as the agent does when its spool can be opened again
		w.operate(w.end)
	}
	w.drain()
	if len(w.disk.stores[w.spoolDir].files) > 0 { // that start found frames in another directory, and used that
		w.drain()
	}
	if w.setup.mode.Streams() {
		for _, r := range w.readers {
			w.ledger.account(r)
		}
	} else {
		w.ledger.hearing()
	}
	w.ledger.sparing()
	w.ledger.unanswered()
}

// drain has a process send all there is, and end.
func (w *simWorld) drain() {
	w.operate(w.start)
	w.every(2 * time.Second) // a stream that vanished is noticed with the next frame
	w.operate(func() { w.run(10 * time.Second) })
	w.every(20 * time.Second)
	const patience = 60
	for i := 0; !w.drained(); i++ {
		if i == patience {
			w.ledger.fail("nothing drains any more: %s", w.life.describe())
		}
		w.operate(func() { w.run(10 * time.Second) })
	}
	w.interval = 0
	w.run(10 * time.Second)
	w.operate(w.end)
	w.run(20 * time.Second)
}

// drained reports whether the log is empty and the readers have all there is.
func (w *simWorld) drained() bool {
	if w.life == nil || !w.life.drained() {
		return false
	}
	for _, r := range w.readers {
		if w.setup.mode.Streams() && r.reader.Stats().Watermark.Less(w.redis.last) {
			return false
		}
	}
	return true
}
