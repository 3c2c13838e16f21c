package main

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

	"framekeeper/pkg/redisconn"
)

// event is one line of a program's log, stamped when it came out of the pipe:
// the log's own times are too coarse for a detection of a few milliseconds.
type event struct {
	at    time.Time
	text  string // the whole line
	Msg   string `json:"message"`
	Level string `json:"level"`
	Cause string `json:"cause"`

	LastedMS float64 `json:"lasted_ms"` // of the end of an outage
}

// process is a program under test. It dies when this one does.
type process struct {
	pid    int
	exited chan struct{} // closed when it was reaped and its log is read to the end

	mu      sync.Mutex // guards all below
	events  []event
	changed chan struct{} // closed and replaced at each event
	dump    []string      // lines that are no events: a crash, or the goroutines SIGQUIT asks for
	err     error         // of its end
}

// spawn starts a program in a directory. copyTo, if not nil, gets its log too.
func spawn(dir string, copyTo io.Writer, program string, args ...string) (*process, error) {
	p := &process{exited: make(chan struct{}), changed: make(chan struct{})}
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
		defer close(p.exited)
		err := cmd.Start()
		if err == nil {
			p.pid = cmd.Process.Pid
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

func (p *process) read(pipe io.Reader, copyTo io.Writer) {
	lines := bufio.NewScanner(pipe)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		e := event{at: time.Now(), text: lines.Text()}
		if copyTo != nil {
			fmt.Fprintf(copyTo, "%s %s\n", e.at.Format("05.000000"), e.text)
		}
		p.mu.Lock()
		if json.Unmarshal(lines.Bytes(), &e) == nil && e.Msg != "" {
			p.events = append(p.events, e)
			close(p.changed)
			p.changed = make(chan struct{})
		} else {
			p.dump = append(p.dump, e.text)
		}
		p.mu.Unlock()
	}
}

// since lists the events from an instant on.
func (p *process) since(from time.Time) []event {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := len(p.events)
	for i > 0 && !p.events[i-1].at.Before(from) {
		i--
	}
	return append([]event(nil), p.events[i:]...)
}

// await returns the first event from an instant on that matches, and false if
// there is none within the limit or the process ends.
func (p *process) await(ctx context.Context, from time.Time, limit time.Duration, match func(event) bool) (event, bool) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for over := false; ; {
		p.mu.Lock()
		changed := p.changed
		p.mu.Unlock()
		for _, e := range p.since(from) {
			if match(e) {
				return e, true
			}
		}
		if over {
			return event{}, false
		}
		select {
		case <-changed:
		case <-p.exited:
			over = true
		case <-timer.C:
			over = true
		case <-ctx.Done():
			over = true
		}
	}
}

// end sends a signal and returns how the process ended. One that does not is
// made to show its goroutines and killed.
func (p *process) end(sig syscall.Signal) error {
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

func (p *process) ends(sig syscall.Signal, within time.Duration) bool {
	_ = syscall.Kill(-p.pid, sig) // it may be gone already
	select {
	case <-p.exited:
		return true
	case <-time.After(within):
		return false
	}
}

// goroutines counts those in the dump that SIGQUIT made.
func (p *process) goroutines() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, line := range p.dump {
		if strings.HasPrefix(line, "goroutine ") {
			n++
		}
	}
	return n
}

// tail is the end of the log, for reports.
func (p *process) tail(n int) string {
	all := p.since(time.Time{})
	var b strings.Builder
	for _, e := range all[max(0, len(all)-n):] {
		fmt.Fprintf(&b, "    %s %s\n", e.at.Format("15:04:05.000"), e.text)
	}
	return b.String()
}

// footprint is what a process holds of the machine.
type footprint struct {
	FDs     int `json:"fds"`
	Threads int `json:"threads"`
	RSSKiB  int `json:"rss_kib"`
}

func (f footprint) String() string {
	return fmt.Sprintf("%d fds, %d threads, %d MiB", f.FDs, f.Threads, f.RSSKiB>>10)
}

func (p *process) footprint() footprint {
	var f footprint
	proc := fmt.Sprintf("/proc/%d/", p.pid)
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

// told reports whether one of the causes was named in these events.
func told(events []event, causes []redisconn.Cause) bool {
	for _, e := range events {
		for _, c := range causes {
			if e.Cause == string(c) {
				return true
			}
		}
	}
	return len(causes) == 0
}
