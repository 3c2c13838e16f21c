// Package proctest runs a program under test as the process it is in the field,
// and watches its log.
//
// It promises that a process ends when its test does, however that ends, and
// that each line of its log is stamped as it came out. Tests of every package
// and the programs under test/ may call it; the product must not. It works on
// Linux only. All methods may be called from any goroutine.
package proctest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Event is one line of a program's log, stamped when it came out of the pipe:
// the log's own times are too coarse for a detection of a few milliseconds.
type Event struct {
	At    time.Time `json:"-"`
	Text  string    `json:"-"` // the whole line
	Msg   string    `json:"message"`
	Level string    `json:"level"`
	Cause string    `json:"cause"`

	LastedMS float64 `json:"lasted_ms"` // of the end of an outage
}

// Process is a program under test. It dies when this one does.
type Process struct {
	PID    int
	Exited chan struct{} // closed when it was reaped and its log is read to the end

	mu      sync.Mutex // guards all below
	events  []Event
	changed chan struct{} // closed and replaced at each event
	dump    []string      // lines that are no events: a crash, or the goroutines SIGQUIT asks for
	err     error         // of its end
}

// Spawn starts a program in a directory. copyTo, if not nil, gets its log too.
func Spawn(dir string, copyTo io.Writer, program string, args ...string) (*Process, error) {
	p := &Process{Exited: make(chan struct{}), changed: make(chan struct{})}
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	pipe, err := cmd.StderrPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	started := make(chan error, 1)
	go func() {
		// The kernel sends Pdeathsig when the thread that forked ends.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.Exited)
		err := cmd.Start()
		if err == nil {
			p.PID = cmd.Process.Pid
		}
		started <- err
		if err != nil {
			return
		}
		p.read(pipe, copyTo)
		err = cmd.Wait()
		p.mu.Lock()
		p.err = err
		p.mu.Unlock()
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	return p, nil
}

func (p *Process) read(pipe io.Reader, copyTo io.Writer) {
	lines := bufio.NewScanner(pipe)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		e := Event{At: time.Now(), Text: lines.Text()}
		if copyTo != nil {
			fmt.Fprintf(copyTo, "%s %s\n", e.At.Format("05.000000"), e.Text)
		}
		p.mu.Lock()
		if json.Unmarshal(lines.Bytes(), &e) == nil && e.Msg != "" {
			p.events = append(p.events, e)
			close(p.changed)
			p.changed = make(chan struct{})
		} else {
			p.dump = append(p.dump, e.Text)
		}
		p.mu.Unlock()
	}
}

// Since lists the events from an instant on.
func (p *Process) Since(from time.Time) []Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := len(p.events)
	for i > 0 && !p.events[i-1].At.Before(from) {
		i--
	}
	return append([]Event(nil), p.events[i:]...)
}

// Await returns the first event from an instant on that matches, and false if
// there is none within the limit or the process ends.
func (p *Process) Await(ctx context.Context, from time.Time, limit time.Duration, match func(Event) bool) (Event, bool) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for over := false; ; {
		p.mu.Lock()
		changed := p.changed
		p.mu.Unlock()
		for _, e := range p.Since(from) {
			if match(e) {
				return e, true
			}
		}
		if over {
			return Event{}, false
		}
		select {
		case <-changed:
		case <-p.Exited:
			over = true
		case <-timer.C:
			over = true
		case <-ctx.Done():
			over = true
		}
	}
}

// End sends a signal and returns how the process ended. One that does not is
// made to show its goroutines and killed.
func (p *Process) End(sig syscall.Signal) error {
	if p.ends(sig, 10*time.Second) {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.err
	}
	if !p.ends(syscall.SIGQUIT, 2*time.Second) {
		p.ends(syscall.SIGKILL, time.Hour)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return fmt.Errorf("still there 10s after %s:\n%s", sig, strings.Join(p.dump, "\n"))
}

func (p *Process) ends(sig syscall.Signal, within time.Duration) bool {
	_ = syscall.Kill(-p.PID, sig) // it may be gone already
	select {
	case <-p.Exited:
		return true
	case <-time.After(within):
		return false
	}
}

// Said is what it wrote beside its log: an error at its end, a crash.
func (p *Process) Said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.dump, "\n")
}

// Goroutines counts those in the dump that SIGQUIT made.
func (p *Process) Goroutines() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, line := range p.dump {
		if strings.HasPrefix(line, "goroutine ") {
			n++
		}
	}
	return n
}

// Tail is the end of the log, for reports.
func (p *Process) Tail(n int) string {
	all := p.Since(time.Time{})
	var b strings.Builder
	for _, e := range all[max(0, len(all)-n):] {
		fmt.Fprintf(&b, "    %s %s\n", e.At.Format("15:04:05.000"), e.Text)
	}
	return b.String()
}

// Footprint is what a process holds of the machine.
type Footprint struct {
	FDs     int `json:"fds"`
	Threads int `json:"threads"`
	RSSKiB  int `json:"rss_kib"`
}

func (f Footprint) String() string {
	return fmt.Sprintf("%d fds, %d threads, %d MiB", f.FDs, f.Threads, f.RSSKiB>>10)
}

// Footprint is what the process holds now; zeros if it is gone.
func (p *Process) Footprint() Footprint { return FootprintOf(p.PID) }

// FootprintOf is the same of any process.
func FootprintOf(pid int) Footprint {
	var f Footprint
	proc := fmt.Sprintf("/proc/%d/", pid)
	if fds, err := os.ReadDir(filepath.Join(proc, "fd")); err == nil {
		f.FDs = len(fds)
	}
	status, _ := os.ReadFile(filepath.Join(proc, "status"))
	for line := range strings.Lines(string(status)) {
		_, _ = fmt.Sscanf(line, "Threads: %d", &f.Threads)
		_, _ = fmt.Sscanf(line, "VmRSS: %d kB", &f.RSSKiB)
	}
	return f
}

// Peak is the most memory the process ever had.
func (p *Process) Peak() (kib int) {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID))
	for line := range strings.Lines(string(status)) {
		_, _ = fmt.Sscanf(line, "VmHWM: %d kB", &kib)
	}
	return kib
}
