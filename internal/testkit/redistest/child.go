package redistest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// spawn says how a child process is to be started.
type spawn struct {
	program string
	args    []string
	dir     string
	out     *os.File // receives stdout and stderr
	netns   string   // name of a network namespace, or empty for our own
}

// child is one running process that dies when this process does.
type child struct {
	pid  int
	done chan struct{} // closed when the process has been reaped
	end  string        // how it ended; written before done is closed

	mu     sync.Mutex // guards reaped, so that no signal goes to a pid that is free again
	reaped bool
}

// startChild starts a process in a group of its own. The kernel sends it
// SIGKILL when the thread that forked it ends, so one goroutine holds on to
// that thread for as long as the child lives.
func startChild(s spawn) (*child, error) {
	c := &child{done: make(chan struct{})}
	started := make(chan error, 1)
	go c.live(s, started)
	if err := <-started; err != nil {
		<-c.done
		return nil, err
	}
	return c, nil
}

// live is the child's goroutine: it starts it, waits for its end and reaps it.
func (c *child) live(s spawn, started chan<- error) {
	defer close(c.done)
	runtime.LockOSThread()
	if s.netns == "" {
		defer runtime.UnlockOSThread()
	} else if err := enterNetNS(s.netns); err != nil {
		// A thread that may sit in another namespace is never given back: it
		// ends with this goroutine.
		started <- err
		return
	}
	cmd := exec.Command(s.program, s.args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, s.out, s.out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		started <- fmt.Errorf("start %s: %w", s.program, err)
		return
	}
	c.pid = cmd.Process.Pid
	started <- nil

	awaitExit(c.pid)
	c.mu.Lock()
	// What the child forked itself (a BGSAVE, say) shares its group and is not
	// signalled at our death; it must not outlive the child.
	_ = syscall.Kill(-c.pid, syscall.SIGKILL)
	c.reaped = true
	c.mu.Unlock()
	if err := cmd.Wait(); err != nil {
		c.end = err.Error()
	} else {
		c.end = "exit status 0"
	}
}

// awaitExit returns when the process has ended, and leaves it unreaped.
func awaitExit(pid int) {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// enterNetNS moves the calling thread into the named network namespace.
func enterNetNS(name string) error {
	f, err := os.Open(filepath.Join(netnsDir, name))
	if err != nil {
		return fmt.Errorf("open network namespace: %w", err)
	}
	defer f.Close()
	if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network namespace %s: %w", name, err)
	}
	return nil
}

// signal sends sig to the child and what it forked.
func (c *child) signal(sig syscall.Signal) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reaped {
		return os.ErrProcessDone
	}
	return syscall.Kill(-c.pid, sig)
}

// kill ends the child at once and returns when it is reaped. SIGKILL also ends
// a stopped process.
func (c *child) kill() {
	_ = c.signal(syscall.SIGKILL) // the only error is that it is gone already
	<-c.done
}

// running reports whether the child has not been reaped yet.
func (c *child) running() bool {
	select {
	case <-c.done:
		return false
	default:
		return true
	}
}

// procState is the state letter the kernel gives a process, 0 if it has none.
func procState(pid int) byte {
	if fields := procStat(pid); len(fields) > 0 {
		return fields[0][0]
	}
	return 0
}

// procStat returns the fields of /proc/PID/stat from the state letter on.
func procStat(pid int) []string {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	// The command name, in parentheses, may hold spaces and parentheses itself.
	i := strings.LastIndexByte(string(raw), ')')
	if i < 0 {
		return nil
	}
	return strings.Fields(string(raw[i+1:]))
}
