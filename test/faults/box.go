package main

import (
	"bufio"
	"fmt"
	"io/fs"
	"net/http"
	"path/filepath"
	"syscall"
	"time"

	"framekeeper/internal/testkit/proctest"
	"framekeeper/internal/testkit/redistest"
)

// boxCameras is how many agents the controller runs. The first two are never
// killed: their memory is looked at over the whole time.
const (
	boxCameras = 4
	boxSpared  = 2
	boxFPS     = 15
)

// box is a whole box: a controller, its agents, and a reader of each camera.
type box struct {
	*rig
	home       string
	config     string
	page       string // the controller's HTTP address
	controller *proctest.Process
	readers    []*watcher
	kills      []uint64 // by camera
	counts     map[string]int
	prints     []boxPrint
	books      []boxBooks
	problems   []string
}

// boxPrint is what the box holds of the machine at one time.
type boxPrint struct {
	When  string                        `json:"when"`
	Holds map[string]proctest.Footprint `json:"holds"` // by program
	Work  map[string]int                `json:"goroutines"`
	Disk  int64                         `json:"disk"`
}

// boxMode hurts the link and the agents of a box at random, for -minutes.
func (o *options) boxMode() error {
	x, err := o.newBox("box")
	if err != nil {
		return err
	}
	if err := x.run(func() { x.live(time.Duration(o.minutes * float64(time.Minute))) }); err != nil {
		x.problem("%v", err)
	}
	fmt.Fprintf(o.out, "%d cameras at %d fps on one box, %.0f minutes of random faults, seed %d\n", boxCameras, boxFPS, o.minutes, o.seed)
	for _, t := range boxFaults() {
		fmt.Fprintf(o.out, "  %3d  %s\n", x.counts[t.name], t.name)
	}
	for _, p := range x.prints {
		fmt.Fprintf(o.out, "%-7s disk %d KiB", p.When, p.Disk>>10)
		for _, name := range x.programs() {
			fmt.Fprintf(o.out, "; %s %s, %d goroutines", name, p.Holds[name], p.Work[name])
		}
		fmt.Fprintln(o.out)
	}
	printBooks(o.out, x.books)
	return o.finish(x.prints, x.problems)
}

// newBox builds the controller, too.
func (o *options) newBox(name string) (*box, error) {
	if err := proctest.Build(o.ctx, filepath.Join(o.bin.dir, "controller"), "framekeeper/cmd/controller"); err != nil {
		return nil, err
	}
	return &box{
		rig:    &rig{bench: &bench{name: name, out: o.notes}, ctx: o.ctx, bin: o.bin, log: o.agentLog, random: o.random},
		kills:  make([]uint64, boxCameras),
		counts: map[string]int{},
	}, nil
}

func (x *box) problem(format string, args ...any) {
	x.problems = append(x.problems, fmt.Sprintf(format, args...))
}

func boxCamera(n int) string { return fmt.Sprintf("cam%d", n) }

// programs are those that live as long as the box.
func (x *box) programs() []string {
	names := []string{"controller"}
	for n := range boxSpared {
		names = append(names, boxCamera(n))
	}
	return names
}

// live runs the box from its start to its orderly end.
func (x *box) live(total time.Duration) {
	x.open("2s")
	began := time.Now()
	x.drain()
	marks := map[string]time.Time{"start": began.Add(min(warmUp, total/4)), "middle": began.Add(total / 2)}
	for all := boxFaults(); time.Since(began) < total; {
		for _, when := range []string{"start", "middle"} {
			if at, due := marks[when]; due && time.Now().After(at) {
				delete(marks, when)
				x.print(when)
			}
		}
		t := all[x.random.IntN(len(all))]
		x.counts[t.name]++
		fmt.Fprintf(x.out, "%s  %s\n", time.Since(began).Round(time.Second), t.name)
		t.hurt(x)
		x.pause(200*time.Millisecond + time.Duration(x.random.Int64N(int64(4*time.Second))))
		if t.heal != nil {
			t.heal(x)
		}
		x.drain()
	}
	x.pause(5 * time.Second)
	x.print("end")
	x.stayedFlat()
	x.close()
}

// print notes what the box holds of the machine.
func (x *box) print(when string) {
	p := boxPrint{When: when, Holds: map[string]proctest.Footprint{"controller": x.controller.Footprint()}}
	for n := range boxSpared {
		p.Holds[boxCamera(n)] = proctest.FootprintOf(x.pid(boxCamera(n)))
	}
	err := filepath.WalkDir(x.home, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // gone meanwhile
		}
		if info, err := d.Info(); err == nil && !d.IsDir() {
			p.Disk += info.Size()
		}
		return nil
	})
	if err != nil {
		x.problem("measure %s: %v", x.home, err)
	}
	p.Work = x.goroutines()
	x.prints = append(x.prints, p)
}

// goroutines is how many each program runs, by its metrics.
func (x *box) goroutines() map[string]int {
	reply, err := http.Get("http://" + x.page + "/metrics")
	if err != nil {
		x.Fatalf("read metrics: %v", err)
	}
	defer func() { _ = reply.Body.Close() }()
	found := map[string]int{}
	for lines := bufio.NewScanner(reply.Body); lines.Scan(); {
		var name string
		var n int
		if _, err := fmt.Sscanf(lines.Text(), "go_goroutines %d", &n); err == nil {
			found["controller"] = n
		} else if _, err := fmt.Sscanf(lines.Text(), "go_goroutines{camera=%q} %d", &name, &n); err == nil {
			found[name] = n
		}
	}
	return found
}

// stayedFlat compares the first look with the last.
func (x *box) stayedFlat() {
	first, last := x.prints[0], x.prints[len(x.prints)-1]
	for _, name := range x.programs() {
		if err := flat(first.Holds[name], last.Holds[name]); err != nil {
			x.problem("%s: %v", name, err)
		}
		if before, after := first.Work[name], last.Work[name]; before == 0 || after > before+5 {
			x.problem("%s: %d goroutines, %d at the start", name, after, before)
		}
	}
	const kept = 1 << 20 // state files, and a spool directory's own size
	if last.Disk > first.Disk+kept {
		x.problem("the disk holds %d bytes, %d at the start", last.Disk, first.Disk)
	}
}

// unspared is one of the cameras whose agents may be killed.
func (x *box) unspared() int { return boxSpared + x.random.IntN(boxCameras-boxSpared) }

// boxFault is one thing that happens to a box.
type boxFault struct {
	name string
	hurt func(x *box)
	heal func(x *box) // nil: the box mends it
}

func boxFaults() []boxFault {
	return []boxFault{
		{"Redis killed and restarted", func(x *box) { x.server.Kill() }, func(x *box) { x.server.Restart() }},
		{"Redis frozen", func(x *box) { x.server.Freeze() }, func(x *box) { x.server.Thaw() }},
		{"line dark", func(x *box) { x.proxy.Stall(redistest.Both) }, func(x *box) { x.proxy.Unstall(redistest.Both) }},
		{"line cut", func(x *box) { x.proxy.Refuse(); x.proxy.ResetAll() }, func(x *box) { x.proxy.Accept() }},
		{"OOM", func(x *box) { x.server.ConfigSet("maxmemory", "1mb") }, func(x *box) { x.server.ConfigSet("maxmemory", "0") }},
		{"CLIENT KILL normal", func(x *box) { x.server.KillClients("normal") }, nil},
		{"CLIENT KILL pubsub", func(x *box) { x.server.KillClients("pubsub") }, nil},
		{"agent killed -9", func(x *box) { x.strike(x.unspared(), syscall.SIGKILL) }, nil},
		{"agent stopped (SIGSTOP)", func(x *box) { x.strike(x.unspared(), syscall.SIGSTOP) }, nil},
	}
}
