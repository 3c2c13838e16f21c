package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/testkit/proctest"
	"framekeeper/internal/testkit/redistest"
)

// open sets the box up: a Redis and the way to it, the controller, a reader of
// each camera. watchdog is how long an agent may be silent.
func (x *box) open(watchdog string) {
	x.serve(redistest.Start(x))
	x.proxy = redistest.NewProxy(x, x.server.Addr())
	x.settings = []string{setting("url", x.proxy.URL())}
	x.home, x.page = x.TempDir(), redistest.FreeAddr(x)
	x.config = filepath.Join(x.home, "config.toml")
	x.configure(watchdog)
	x.read()
	x.control()
}

// configure writes the configuration.
func (x *box) configure(watchdog string) {
	lines := []string{
		setting("state_dir", filepath.Join(x.home, "state")),
		"[redis]", strings.Join(x.settings, "\n"),
		"[delivery]", setting("retain_bytes", "8MiB"), setting("spool_dir", filepath.Join(x.home, "spool")),
		"[log]", setting("format", "json"),
		"[controller]", setting("http", x.page), setting("log_interval", "1s"), setting("watchdog_timeout", watchdog),
	}
	for n := range boxCameras {
		lines = append(lines, "[[camera]]", setting("name", boxCamera(n)), setting("source", "test:"),
			fmt.Sprintf("width = 320\nheight = 240\nfps = %d\npublish_fps = %d", boxFPS, boxFPS), setting("status_interval", "1s"))
	}
	if err := os.WriteFile(x.config, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		x.Fatalf("write config: %v", err)
	}
}

// read starts a reader of each camera.
func (x *box) read() {
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
}

// control starts the controller, and with it the agents.
func (x *box) control() {
	p, err := proctest.Spawn(x.home, x.log, filepath.Join(x.bin.dir, "controller"), "--config", x.config)
	if err != nil {
		x.Fatalf("%v", err)
	}
	x.controller = p
	x.Cleanup(func() { _ = p.End(syscall.SIGKILL) })
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

// strike sends a signal to the agent of a camera, and says when. A status may
// still be that of a process that has just ended.
func (x *box) strike(n int, sig syscall.Signal) time.Time {
	for deadline := time.Now().Add(startLimit); ; x.pause(50 * time.Millisecond) {
		pid, at := x.pid(boxCamera(n)), time.Now()
		err := syscall.Kill(pid, sig)
		switch {
		case err == nil:
			x.kills[n]++
			return at
		case time.Now().After(deadline):
			x.Fatalf("send %s to %s, process %d: %v", sig, boxCamera(n), pid, err)
		}
	}
}

// close ends the box in order and makes its books.
func (x *box) close() {
	if err := x.controller.End(syscall.SIGTERM); err != nil {
		x.problem("the controller ended with %v", err)
	}
	x.account()
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
		x.books = append(x.books, boxBooks{
			camera: name, delivered: s.Delivered, declared: s.Declared, trimmed: s.Trimmed, undeclared: s.Undeclared,
			duplicates: uint64(len(duplicates)), killed: x.kills[n], unclean: s.UncleanStart,
		})
		if s.Undeclared+s.Declared+s.Trimmed+s.Corrupt > 0 || len(duplicates) > 0 || s.UncleanStart > x.kills[n] {
			x.problem("%s: the reader reports %+v, duplicates %q", name, s, duplicates)
		}
	}
}

// boxBooks is what became of the frames of one camera, and what its agents
// went through.
type boxBooks struct {
	camera                                               string
	delivered, declared, trimmed, undeclared, duplicates uint64
	killed, unclean                                      uint64
}

func printBooks(out io.Writer, all []boxBooks) {
	g := newGrid(out, "camera", "delivered", "declared", "trimmed", "undeclared", "duplicates", "agents killed", "unclean starts")
	for _, b := range all {
		row := []string{b.camera}
		for _, count := range []uint64{b.delivered, b.declared, b.trimmed, b.undeclared, b.duplicates, b.killed, b.unclean} {
			row = append(row, fmt.Sprint(count))
		}
		g.row(row...)
	}
	g.end()
}
