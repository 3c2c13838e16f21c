package supervise

import (
	"bytes"
	"io"
	"syscall"
	"time"
)

// ChildSpec is a program that runs beside the agents.
type ChildSpec struct {
	Path   string
	Args   []string
	Env    []string
	Stdin  []byte
	Output io.Writer // gets what it writes, one whole line at a time
}

// Child is one process of such a program. Like an agent it leads a process
// group of its own, which ends with it, and is reaped; unlike an agent it has
// nothing to save, so that the kernel kills it at once when we die.
type Child struct{ p *process }

// StartChild begins the process. The caller waits for Done.
func StartChild(s ChildSpec) (*Child, error) {
	p, err := start(launch{
		path: s.Path, args: s.Args, env: s.Env, out: &sink{w: s.Output}, orphan: syscall.SIGKILL, stdin: bytes.NewReader(s.Stdin),
	})
	if err != nil {
		return nil, rootCause(err)
	}
	return &Child{p: p}, nil
}

// PID is the process's, also after its end.
func (c *Child) PID() int { return c.p.pid }

// Done is closed when the process is reaped and its output read.
func (c *Child) Done() <-chan struct{} { return c.p.done }

// Ended says how the process ended, once Done is closed: "signal: killed".
func (c *Child) Ended() string {
	if err := c.p.end.startErr; err != nil {
		return err.Error()
	}
	return c.p.end.state.String()
}

// Kill ends the process and all it started, and returns when it is gone.
func (c *Child) Kill() {
	c.p.killGroup()
	<-c.p.done
}

// Stop asks the process to end and kills it when that takes longer than grace.
// It returns when it is gone, and says whether it went by itself.
func (c *Child) Stop(grace time.Duration) bool {
	c.p.signal(syscall.SIGTERM)
	limit := time.NewTimer(grace)
	defer limit.Stop()
	select {
	case <-c.p.done:
		return true
	case <-limit.C:
	}
	c.Kill()
	return false
}
