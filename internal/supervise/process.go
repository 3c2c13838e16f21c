package supervise

import (
	"errors"
	"fmt"
	"io"
	"os"
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

// launch says what to start and how.
type launch struct {
	path   string
	args   []string
	env    []string // nil: ours
	config []byte   // to be found behind ConfigVariable; nil: nothing
	socket *os.File // to be found behind SocketVariable; nil: nothing
	out    *sink
	orphan syscall.Signal // what the kernel sends it when we die, by whatever means; 0: nothing
	stdin  io.Reader      // nil: nothing to read
}

// ConfigVariable names the descriptor on which an agent finds the text of its
// configuration. The file may be different already, or broken.
const ConfigVariable = "FRAMEKEEPER_CONFIG_FD"

// inMemory is a file without a name that holds the text.
func inMemory(text []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("config.toml", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("keep configuration in memory: %w", err)
	}
	f := os.NewFile(uintptr(fd), "config.toml")
	if _, err := f.WriteAt(text, 0); err != nil { // the child reads from the start
		_ = f.Close()
		return nil, fmt.Errorf("keep configuration in memory: %w", err)
	}
	return f, nil
}

// hand has the program find a file behind the descriptor that the variable names.
func hand(cmd *exec.Cmd, f *os.File, variable string) {
	cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	cmd.Env = append(cmd.Environ(), fmt.Sprintf("%s=%d", variable, 2+len(cmd.ExtraFiles)))
}

// start begins the program. The child leads a process group of its own, so
// that a Ctrl-C at the terminal reaches only us, who then stop it in order,
// and so that what it started itself can be killed with it.
func start(l launch) (*process, error) {
	stdout, stderr := &lines{sink: l.out}, &lines{sink: l.out}
	cmd := exec.Command(l.path, l.args...) //nolint:noctx // ended by signal and process group, not by a context's SIGKILL
	cmd.Stdin = l.stdin
	cmd.Stdout, cmd.Stderr, cmd.Env = stdout, stderr, l.env
	// A grandchild that left the group may hold the pipes open for ever.
	cmd.WaitDelay = time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: l.orphan}
	if l.config != nil {
		text, err := inMemory(l.config)
		if err != nil {
			return nil, err
		}
		defer func() { _ = text.Close() }() // the child has its own
		hand(cmd, text, ConfigVariable)
	}
	if l.socket != nil {
		hand(cmd, l.socket, SocketVariable)
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
	p.end = ending{state: p.cmd.ProcessState, lastLine: stderr.lastLine(), crash: stderr.crashLine()}
	if p.cmd.ProcessState == nil {
		p.end.startErr = err
	}
}

// signal goes to the child alone: what it started is its own to stop.
func (p *process) signal(s syscall.Signal) {
	_ = p.cmd.Process.Signal(s) // fails only when it has ended already
}

// killGroup ends the child and all it started.
func (p *process) killGroup() { p.signalGroup(syscall.SIGKILL) }

// signalGroup reaches the child and all it started.
func (p *process) signalGroup(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.reaped {
		_ = syscall.Kill(-p.pid, s) // fails only when nobody is left
	}
}
