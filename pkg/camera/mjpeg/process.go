package mjpeg

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"framekeeper/pkg/camera"
)

// drainTime is how long a child's last output may be read after its end.
const drainTime = 500 * time.Millisecond

// process is a running command with everything it started.
type process struct {
	cmd    *exec.Cmd
	pid    int
	stdout *os.File // what it writes; closed by close
	stderr *stderrTail

	done chan struct{} // closed when the child is reaped
	end  string        // how it ended; valid once done is closed

	closing sync.Once

	mu     sync.Mutex // guards reaped
	reaped bool       // the pid may belong to somebody else now
}

// startProcess runs words[0], which leads a process group of its own: a Ctrl-C
// at the terminal reaches only us, and what it started itself can be killed
// with it.
func startProcess(words []string) (*process, error) {
	path, err := exec.LookPath(words[0])
	if err != nil {
		return nil, startError(words[0], err)
	}
	out, outWrite, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make pipe: %w", err)
	}
	stderr, errWrite, err := newStderrTail(secrets(words))
	if err != nil {
		_, _ = out.Close(), outWrite.Close()
		return nil, fmt.Errorf("make pipe: %w", err)
	}
	cmd := exec.Command(path, words[1:]...) //nolint:gosec,noctx // the configured command; ended as a group, not by a context
	cmd.Args[0] = words[0]
	cmd.Stdout, cmd.Stderr = outWrite, errWrite
	// Pdeathsig is sent by the kernel when we die, by whatever means: a camera
	// still in use could not be opened again.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	p := &process{cmd: cmd, stdout: out, stderr: stderr, done: make(chan struct{})}
	started := make(chan error, 1)
	go p.run(started)
	err = <-started
	_, _ = outWrite.Close(), errWrite.Close() // the child has its own
	if err != nil {
		_ = out.Close()
		stderr.close()
		return nil, startError(words[0], err)
	}
	return p, nil
}

func startError(program string, err error) error {
	shown := camera.RedactSource("exec:" + program)
	switch {
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: %s: there is no such program; install it or correct its name", camera.ErrNoDevice, shown)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: %s: not permitted to run it", camera.ErrNoDevice, shown)
	}
	var cause syscall.Errno // without the name, which may be more than one
	if errors.As(err, &cause) {
		err = cause
	}
	return fmt.Errorf("%w: %s: start it: %w", camera.ErrNoDevice, shown, err)
}

// run starts the child, waits for its end, kills what it left in its group,
// and only then reaps it: until then its pid, and so the group's number, cannot
// be given to anybody else.
func (p *process) run(started chan<- error) {
	// The kernel sends Pdeathsig when the thread that forked ends, not the
	// process. Locked here, the thread stays until the child is reaped.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	if err == nil {
		p.pid = p.cmd.Process.Pid
	}
	started <- err
	if err != nil {
		return
	}
	defer close(p.done)
	for {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PID, p.pid, &info, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	p.signal(syscall.SIGKILL)
	p.mu.Lock()
	p.reaped = true
	p.mu.Unlock()
	err = p.cmd.Wait()
	p.end = "exit status 0"
	if err != nil {
		p.end = err.Error()
	}
	// What it wrote last can still be read, but nothing is waited for that a
	// grandchild outside the group may write.
	_ = p.stdout.SetReadDeadline(time.Now().Add(drainTime))
}

// signal goes to the child and all it started.
func (p *process) signal(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.reaped {
		_ = syscall.Kill(-p.pid, s) // fails only when nobody is left
	}
}

// close ends the child within grace if it is willing, by force if not, and
// waits until it is reaped. Any number of goroutines may call it.
func (p *process) close(grace time.Duration) { p.closing.Do(func() { p.stop(grace) }) }

func (p *process) stop(grace time.Duration) {
	p.signal(syscall.SIGTERM)
	p.signal(syscall.SIGCONT) // stopped, it could not end
	_ = p.stdout.Close()      // nor could it, perhaps, while it waits to write
	limit := time.NewTimer(grace)
	defer limit.Stop()
	select {
	case <-p.done:
	case <-limit.C:
		p.signal(syscall.SIGKILL)
		<-p.done
	}
	p.stderr.close()
}
