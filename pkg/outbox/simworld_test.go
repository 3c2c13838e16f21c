package outbox

import (
	"fmt"
	"time"
)

// simWorld is everything around the code under test: clock, disk, Redis, readers, the
// camera and its process. One goroutine does all; a plan's seeds order the events.
type simWorld struct {
	rng    simRandom     // of the operation at work
	now    time.Duration // since the world began; never steps
	offset time.Duration // of the wall clock
	setup  simSetup
	trace  simTrace
	ledger *simLedger
	redis  *simRedis
	disk   *simDisk
	counts simCounts

	actors   []*simActor
	life     *simLife // nil: no process runs
	lives    int
	highest  uint64 // epoch that a process began with
	unsaved  bool   // the epoch of the last process is in no journal
	depth    int    // of actors that work while another waits
	guarded  int    // of readers at work: nothing is killed below them
	readers  []*simReader
	interval time.Duration // between two exposures
	size     int64         // of an image
	largest  int64         // message so far
	growth   int64         // of each after that
	asking   time.Duration // between two requests, at most; 0: none
	asked    int
	spoolDir string // as configured
}

// simSetup is what does not change during a run.
type simSetup struct {
	mode      Mode
	retain    int64
	streamMax int64
	spoolMax  int64
	spoolAge  time.Duration
	sync      Sync
	pickled   bool // the channel has another wire
	sameDisk  bool // both places for the spool are on one file system
}

// simActor is somebody who does one step at a time.
type simActor struct {
	name  string
	life  int                               // 0: it outlives processes
	step  func() (wait, rest time.Duration) // how long until the next one at least, and how long it may rest after that if nobody wakes it
	due   time.Duration
	from  time.Duration   // not before this, even if it is woken
	wake  <-chan struct{} // nil: nobody wakes it
	woken bool
	busy  bool
}

// at is when the actor is due.
func (a *simActor) at() time.Duration {
	if a.woken {
		return min(a.from, a.due)
	}
	return a.due
}

// simKilled is the panic that ends a process in the middle of what it does.
type simKilled struct{ power bool }

// instant is the present as the code under test measures intervals by it.
func (w *simWorld) instant() time.Time { return simStart.Add(w.now) }

// wall is the wall clock.
func (w *simWorld) wall() time.Time { return simStart.Add(w.now + w.offset) }

// run lets time pass.
func (w *simWorld) run(d time.Duration) {
	for until := w.now + d; ; {
		a := w.pick(until)
		if a == nil {
			w.now = max(w.now, until)
			return
		}
		w.now = max(w.now, min(a.at(), until))
		w.turn(a)
	}
}

// pick is one of those who are due first, or about then.
func (w *simWorld) pick(until time.Duration) *simActor {
	const about = 30 * time.Millisecond
	var first *simActor
	for _, a := range w.actors {
		if !a.busy && (first == nil || a.at() < first.at()) {
			first = a
		}
	}
	if first == nil || first.at() > until {
		return nil
	}
	at, n := max(first.at(), w.now)+about, 0
	for _, a := range w.actors {
		if !a.busy && a.at() <= at {
			if n++; w.rng.IntN(n) == 0 {
				first = a
			}
		}
	}
	return first
}

// turn lets an actor do a step.
func (w *simWorld) turn(a *simActor) {
	a.busy, a.woken = true, false
	w.counts.steps++
	wait, rest := a.step()
	a.busy = false
	a.from = w.now + max(wait, time.Millisecond)
	a.due = a.from + rest
	if w.life != nil {
		w.life.after()
	}
}

// meanwhile lets others do something while a call to the disk or to Redis takes its
// time: what the code under test does outside its locks.
func (w *simWorld) meanwhile() {
	const deep = 3
	if w.depth >= deep || w.life == nil || w.life.locked() {
		return
	}
	if !w.rng.percent(25) {
		return
	}
	w.now += w.rng.between(0, 30*time.Millisecond)
	w.depth++
	defer func() { w.depth-- }()
	for range 1 + w.rng.IntN(3) {
		if a := w.pick(w.now + 10*time.Millisecond); a != nil {
			w.turn(a)
		}
	}
}

// alive ends what a dead process would still do.
func (w *simWorld) alive(life int) {
	if w.life == nil || w.life.number != life {
		panic(simKilled{})
	}
}

// kill ends the process in the middle of a call.
func (w *simWorld) kill() {
	if w.life != nil && w.guarded == 0 {
		w.trace.note("killed in the middle")
		panic(simKilled{power: w.rng.percent(40)})
	}
}

// operate carries out one operation; a process that is killed meanwhile is gone.
func (w *simWorld) operate(f func()) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case simKilled:
			w.depth, w.guarded = 0, 0
			for _, a := range w.actors {
				a.busy = false
			}
			w.crash(p.power)
		default:
			panic(p)
		}
	}()
	f()
}

// simCounts is what runs have done.
type simCounts struct {
	runs, lives, kills, powerCuts, faults, operations, steps int
	frames, delivered, declared, trimmed, unknown            int
	requests, lostByRedis, lostByDisk                        int
	simulated                                                time.Duration
}

func (c *simCounts) add(d simCounts) {
	c.runs += d.runs
	c.lives += d.lives
	c.kills += d.kills
	c.powerCuts += d.powerCuts
	c.faults += d.faults
	c.operations += d.operations
	c.steps += d.steps
	c.frames += d.frames
	c.delivered += d.delivered
	c.declared += d.declared
	c.trimmed += d.trimmed
	c.unknown += d.unknown
	c.requests += d.requests
	c.lostByRedis += d.lostByRedis
	c.lostByDisk += d.lostByDisk
	c.simulated += d.simulated
}

func (c simCounts) String() string {
	return fmt.Sprintf("%d runs: %d lives (%d ended by kill -9, %d by a power cut), %d faults, %d operations, %d steps, %s simulated; "+
		"%d frames: %d delivered, %d declared, %d trimmed, %d unknown; %d requests; Redis lost %d entries, the disk %d frames",
		c.runs, c.lives, c.kills, c.powerCuts, c.faults, c.operations, c.steps, c.simulated.Round(time.Hour),
		c.frames, c.delivered, c.declared, c.trimmed, c.unknown, c.requests, c.lostByRedis, c.lostByDisk)
}
