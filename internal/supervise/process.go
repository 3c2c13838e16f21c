package supervise

import (
	"errors"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is one running child with everything it started.
type process struct {
	cmd *exec.Cmd
	pid int

	done chan struct{} // closed when the child is reaped and its output read
	end  ending        // valid once done is closed

	mu     sync.Mutex // guards reaped
	reaped bool       // the pid may belong to somebody else now
}

// start begins the program. The child leads a process group of its own, so
// that a Ctrl-C at the terminal reaches only us, who then stop it in order,
// and so that what it started itself can be killed with it.
func start(spec Spec, out *sink) (*process, error) {
	stdout, stderr := &lines{sink: out}, &lines{sink: out}
	cmd := exec.Command(spec.Path, spec.Args...) //nolint:noctx // ended by signal and process group, not by a context's SIGKILL
	cmd.Stdout, cmd.Stderr = stdout, stderr
	// A grandchild that left the group may hold the pipes open for ever.
	cmd.WaitDelay = time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid: true,
		// Sent by the kernel when we die, by whatever means: SIGTERM, not
		// SIGKILL, because an agent without a controller still has frames to
		// put on disk, and ends by itself within 5 s.
		Pdeathsig: syscall.SIGTERM,
	}
	p := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		// The kernel sends Pdeathsig when the thread that forked ends, not the
		// process. Locked here, the thread stays until the child is reaped.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		if err == nil {
			p.pid = cmd.Process.Pid
		}
		started <- err
		if err == nil {
			p.wait(stdout, stderr)
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// wait blocks until the child has ended, kills what it left behind in its
// group, and only then reaps it: until then its pid, and so the group's
// number, cannot be given to anybody else.
func (p *process) wait(stdout, stderr *lines) {
	defer close(p.done)
	for {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PID, p.pid, &info, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	p.killGroup()
	p.mu.Lock()
	p.reaped = true
	p.mu.Unlock()
	err := p.cmd.Wait()
	stdout.flush()
	stderr.flush()
	p.end = ending{state: p.cmd.ProcessState, lastLine: stderr.lastLine()}
	if p.cmd.ProcessState == nil {
		p.end.startErr = err
	}
}

// signal goes to the child alone: what it started is its own to stop.
func (p *process) signal(s syscall.Signal) {
	_ = p.cmd.Process.Signal(s) // fails only when it has ended already
}

// killGroup ends the child and all it started.
func (p *process) killGroup() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.reaped {
		_ = syscall.Kill(-p.pid, syscall.SIGKILL) // fails only when nobody is left
	}
}
