package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/proctest"
	"framekeeper/internal/redistest"
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
	page       string // the controller's HTTP address
	controller *proctest.Process
	readers    []*watcher
	kills      []uint64 // by camera
	counts     map[string]int
	prints     []boxPrint
	rows       [][]string // of the account
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
	if err := proctest.Build(o.ctx, filepath.Join(o.bin.dir, "controller"), "framekeeper/cmd/controller"); err != nil {
		return err
	}
	b := &bench{name: "box", out: o.notes}
	x := &box{
		rig:    &rig{bench: b, ctx: o.ctx, bin: o.bin, log: o.agentLog, random: o.random},
		kills:  make([]uint64, boxCameras),
		counts: map[string]int{},
	}
	if err := b.run(func() { x.live(time.Duration(o.minutes * float64(time.Minute))) }); err != nil {
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
	g := newGrid(o.out, "camera", "delivered", "declared", "trimmed", "undeclared", "duplicates", "agents killed", "unclean starts")
	for _, row := range x.rows {
		g.row(row...)
	}
	g.end()
	return o.finish(x.prints, x.problems)
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
	x.serve(redistest.Start(x))
	x.proxy = redistest.NewProxy(x, x.server.Addr())
	x.settings = []string{setting("url", x.proxy.URL())}
	x.home, x.page = x.TempDir(), redistest.FreeAddr(x)
	x.start()
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
	if err := x.controller.End(syscall.SIGTERM); err != nil {
		x.problem("the controller ended with %v", err)
	}
	x.account()
}

// start writes the configuration and starts the controller and the readers.
func (x *box) start() {
	lines := []string{
		setting("state_dir", filepath.Join(x.home, "state")),
		"[redis]", strings.Join(x.settings, "\n"),
		"[delivery]", setting("retain_bytes", "8MiB"), setting("spool_dir", filepath.Join(x.home, "spool")),
		"[log]", setting("format", "json"),
		"[controller]", setting("http", x.page), setting("log_interval", "1s"), setting("watchdog_timeout", "2s"),
	}
	for n := range boxCameras {
		lines = append(lines, "[[camera]]", setting("name", boxCamera(n)), setting("source", "test:"),
			fmt.Sprintf("width = 320\nheight = 240\nfps = %d\npublish_fps = %d", boxFPS, boxFPS), setting("status_interval", "1s"))
	}
	config := filepath.Join(x.home, "config.toml")
	if err := os.WriteFile(config, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		x.Fatalf("write config: %v", err)
	}
	ctx, cancel := context.WithCancel(x.ctx)
	for n := range boxCameras {
		x.readers = append(x.readers, watch(ctx, x.way, boxCamera(n), false, zerolog.Nop()))
	}
	x.Cleanup(func() {
		cancel()
		for _, w := range x.readers {
			w.wg.Wait()
		}
	})
	var err error
	if x.controller, err = proctest.Spawn(x.home, x.log, filepath.Join(x.bin.dir, "controller"), "--config", config); err != nil {
		x.Fatalf("%v", err)
	}
	x.Cleanup(func() { _ = x.controller.End(syscall.SIGKILL) })
}

// drain waits until a frame exposed from now on has come from every camera.
func (x *box) drain() {
	from := time.Now()
	for n, w := range x.readers {
		if _, ok := w.drained(x.ctx, from, time.Minute); !ok {
			x.Fatalf("no new frame of %s within a minute; the log:\n%s", boxCamera(n), x.controller.Tail(20))
		}
	}
}

// pid is the process that shows a camera's status. A fresh agent takes a moment
// to show it, and one whose Redis is refilled another.
func (x *box) pid(camera string) int {
	var status struct {
		PID int `json:"pid"`
	}
	for deadline := time.Now().Add(startLimit); ; x.pause(50 * time.Millisecond) {
		text, err := x.server.Client().Get(x.ctx, "status:"+camera).Bytes()
		if err == nil {
			err = json.Unmarshal(text, &status)
		}
		switch {
		case err == nil && status.PID > 0:
			return status.PID
		case time.Now().After(deadline):
			x.Fatalf("%s shows no status within %s: %v", camera, startLimit, err)
		}
	}
}

// strike sends a signal to one of the agents that are not spared. A status may
// still be that of a process that has just ended.
func (x *box) strike(sig syscall.Signal) {
	n := boxSpared + x.random.IntN(boxCameras-boxSpared)
	for deadline := time.Now().Add(startLimit); ; x.pause(50 * time.Millisecond) {
		pid := x.pid(boxCamera(n))
		err := syscall.Kill(pid, sig)
		switch {
		case err == nil:
			x.kills[n]++
			return
		case time.Now().After(deadline):
			x.Fatalf("send %s to %s, process %d: %v", sig, boxCamera(n), pid, err)
		}
	}
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

// account makes the books of each camera: what its reader took, up to the last
// ID its last agent gave.
func (x *box) account() {
	for n, w := range x.readers {
		name := boxCamera(n)
		if state, err := readLeft(filepath.Join(x.home, "state"), name); err != nil {
			x.problem("%v", err)
		} else if !state.Clean || !w.reached(x.ctx, state.Last, 10*time.Second) {
			x.problem("%s: the reader did not get to the last frame %s (clean %v)", name, state.Last, state.Clean)
		}
		_, duplicates := ledgerOf(w.seen())
		s := w.consumer.Stats()
		row := []string{name}
		for _, count := range []uint64{s.Delivered, s.Declared, s.Trimmed, s.Undeclared, uint64(len(duplicates)), x.kills[n], s.UncleanStart} {
			row = append(row, fmt.Sprint(count))
		}
		x.rows = append(x.rows, row)
		if s.Undeclared+s.Declared+s.Trimmed+s.Corrupt > 0 || len(duplicates) > 0 || s.UncleanStart > x.kills[n] {
			x.problem("%s: the reader reports %+v, duplicates %q", name, s, duplicates)
		}
	}
}

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
		{"agent killed -9", func(x *box) { x.strike(syscall.SIGKILL) }, nil},
		{"agent stopped (SIGSTOP)", func(x *box) { x.strike(syscall.SIGSTOP) }, nil},
	}
}
