// Package vmtest runs the inner half of a test in the machine that
// scripts/camera-vm.sh boots, and repeats outside what the tests there said.
//
// Inside runs the same test binary, which a variable marks as inside. Its
// tests Say what the outer half has to know: of a machine that loses its power
// nothing else is left. Tests below test/ may call it, the product must not.
package vmtest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What camera-vm.sh says with its status.
const (
	exitTimeout   = 124
	exitNoMachine = 125
	exitCut       = 137
)

// mark begins what is for the outer half and not for the log.
const mark = "@vmtest "

// Say passes something to the outer half; to be called inside.
func Say(words ...any) { fmt.Fprint(os.Stdout, mark, fmt.Sprintln(words...)) }

// Machine is one boot.
type Machine struct {
	cmd    *exec.Cmd
	began  time.Time
	done   chan struct{}
	stderr bytes.Buffer // valid once done is closed, as all below
	stdout strings.Builder
	err    error
}

// Boot runs camera-vm.sh with arguments, and with variables for the command. said,
// if not nil, is called for everything that Say passes on, as it comes. The machine
// ends with the test.
func Boot(t *testing.T, env, args []string, said func(text string)) *Machine {
	t.Helper()
	m := &Machine{began: time.Now(), done: make(chan struct{})}
	m.cmd = exec.CommandContext(context.WithoutCancel(t.Context()), "../../scripts/camera-vm.sh", args...)
	m.cmd.Env = append(os.Environ(), env...)
	m.cmd.Stderr = &m.stderr
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	pipe, err := m.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	started := make(chan error, 1)
	go func() {
		defer close(m.done)
		runtime.LockOSThread() // the kernel sends the death signal when the forking thread ends
		defer runtime.UnlockOSThread()
		err := m.cmd.Start()
		started <- err
		if err == nil {
			m.read(pipe, said)
			m.err = m.cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = m.cmd.Process.Signal(syscall.SIGTERM) // it may be gone
		<-m.done
	})
	return m
}

func (m *Machine) read(r io.Reader, said func(text string)) {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		text, marked := strings.CutPrefix(strings.TrimPrefix(line, "\x16"), mark)
		switch {
		case !marked:
			m.stdout.WriteString(line)
		case said != nil && err == nil: // not what the power's end cut short
			said(strings.TrimSuffix(text, "\n"))
		}
		if err != nil {
			return
		}
	}
}

// Cut takes the machine's power away, and returns when it is off. It must not
// have ended before.
func (m *Machine) Cut(t *testing.T) {
	t.Helper()
	_ = m.cmd.Process.Signal(syscall.SIGUSR1) // it may be gone
	<-m.done
	var exit *exec.ExitError
	if !errors.As(m.err, &exit) || exit.ExitCode() != exitCut {
		m.Repeat(t)
		t.Fatalf("the machine ended before its power was cut")
	}
	t.Logf("the power was cut after %s", time.Since(m.began).Round(100*time.Millisecond))
	for _, r := range reports(m.stdout.String()) {
		t.Log(strings.Join(r.text, "\n"))
	}
}

// Off is closed when the machine is.
func (m *Machine) Off() <-chan struct{} { return m.done }

// Repeat waits for the machine's end and repeats what its tests said. The test is
// skipped where no machine can be run, but in CI.
func (m *Machine) Repeat(t *testing.T) {
	t.Helper()
	<-m.done
	t.Logf("%s in the machine", time.Since(m.began).Round(100*time.Millisecond))
	stdout, stderr := m.stdout.String(), m.stderr.String()
	var exit *exec.ExitError
	if errors.As(m.err, &exit) {
		switch code := exit.ExitCode(); {
		case code == exitNoMachine && os.Getenv("CI") == "":
			t.Skipf("no machine with a camera can be run here:\n%s", stderr)
		case code == exitTimeout:
			t.Errorf("not all was done in time")
		}
	}
	n := 0
	for _, r := range reports(stdout) {
		n++
		t.Run(r.name, func(t *testing.T) { r.replay(t) })
	}
	if m.err != nil && !t.Failed() {
		t.Errorf("the machine ended with %v:\n%s%s", m.err, tail(stdout), tail(stderr))
	}
	if n == 0 {
		t.Errorf("no test ran in the machine:\n%s%s", tail(stdout), tail(stderr))
	}
}

func tail(s string) string {
	const most = 4000
	return s[max(0, len(s)-most):]
}
