package client

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"framekeeper/internal/cli"
	"framekeeper/internal/receiver"
	"framekeeper/internal/status"

	"golang.org/x/sys/unix"
)

// process starts the client as a process of its own.
func (b *bench) process(stdout, stderr io.Writer, args ...string) *exec.Cmd {
	b.t.Helper()
	cmd := exec.Command(os.Args[0], append(args, "--config", b.config)...)
	cmd.Env = append(os.Environ(), asClient+"=1")
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = cmd.Process.Kill() }) // it has ended unless the test failed
	return cmd
}

func TestSignals(t *testing.T) {
	b := newBench(t, "stream", "greencam1")
	a := startAgent(t, b.redis, "greencam1", "stream")
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		b.stdout = buffer{}
		before := len(b.files("greencam1"))
		cmd := b.process(&b.stdout, &b.stderr, "run")
		b.await("stored images", func() bool { return len(b.files("greencam1")) >= before+5 })
		began := time.Now()
		_ = cmd.Process.Signal(sig)
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: got %v, want exit code 0\n%s", sig, err, &b.stderr)
		}
		if took := time.Since(began); took > cli.EndTime {
			t.Errorf("%s: took %s, want at most %s", sig, took, cli.EndTime)
		}
		wantSummary(t, b.summary(), map[string]string{"lost": "0", "duplicates": "0"})
	}
	// With requests that nobody answers the end takes receiver.AnswerWait; the second
	// signal cuts it short.
	a.with(func() { a.silent = true })
	b.stdout = buffer{}
	cmd := b.process(&b.stdout, &b.stderr, "run")
	b.await("no frame", func() bool { return strings.Contains(b.stderr.String(), "No frame has arrived yet") })
	_ = cmd.Process.Signal(syscall.SIGTERM)
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	again := time.NewTicker(20 * time.Millisecond) // a signal before the first has been seen counts as the first
	defer again.Stop()
	began := time.Now()
	for {
		select {
		case <-again.C:
			_ = cmd.Process.Signal(syscall.SIGTERM)
			continue
		case err := <-ended:
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM {
				t.Errorf("two signals: got %v, want death by SIGTERM", err)
			}
			if took := time.Since(began); took > receiver.AnswerWait {
				t.Errorf("two signals: took %s, want no waiting", took)
			}
		}
		break
	}
	if got := b.stdout.String(); strings.Contains(got, "Summary") {
		t.Errorf("two signals: got a summary:\n%s", got)
	}
}

// TestDurationWithAHangingOutput: an end by --duration is bounded like one by a
// signal. Here nobody reads what the client prints; a disk may hang as well.
func TestDurationWithAHangingOutput(t *testing.T) {
	b := newBench(t, "stream", "greencam1")
	startAgent(t, b.redis, "greencam1", "stream")
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = read.Close() }()
	size, err := unix.FcntlInt(write.Fd(), unix.F_GETPIPE_SZ, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := write.Write(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	cmd := b.process(write, &b.stderr, "run", "--duration", "200ms")
	_ = write.Close()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err = <-ended:
	case <-time.After(6 * cli.EndTime):
		t.Fatalf("the client has not ended\n%s", &b.stderr)
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(b.stderr.String(), "exiting") {
		t.Errorf("got %v, want exit code 1 and a reason\n%s", err, &b.stderr)
	}
}

func TestExitCodeAndOneLine(t *testing.T) {
	b := newBench(t, "stream", "greencam1")
	err := b.process(&b.stdout, &b.stderr, "request", "--camera", "nocam").Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != status.ExitUsage {
		t.Errorf("got %v, want the exit code of a usage error", err)
	}
	if got := b.stderr.String(); !strings.HasPrefix(got, "client: ") || strings.Count(got, "\n") != 1 || b.stdout.String() != "" {
		t.Errorf("got %q on stderr, %q on stdout, want one line on stderr", got, &b.stdout)
	}
	b.stderr = buffer{}
	if err := b.process(&b.stdout, &b.stderr, "--version").Wait(); err != nil || !strings.HasPrefix(b.stdout.String(), "client ") {
		t.Errorf("--version: got %v, %q", err, &b.stdout)
	}
}

// TestLiveLineOnATerminal: it is rewritten in place, fits, and log lines do not
// run into it.
func TestLiveLineOnATerminal(t *testing.T) {
	master, tty := mustPTY(t, 60)
	b := newBench(t, "stream", "greencam1")
	a := startAgent(t, b.redis, "greencam1", "stream")
	cmd := b.process(tty, tty, "run")
	_ = tty.Close()
	var shown buffer
	read := make(chan struct{})
	go func() {
		_, _ = io.Copy(&shown, master) // ends with EIO when the client has gone
		close(read)
	}()
	b.await("the live line", func() bool { return strings.Count(shown.String(), eraseLine+"greencam1 ") >= 2 })
	a.with(func() { a.silent = true })
	b.await("a log line", func() bool { return strings.Contains(shown.String(), "FPS dropped to 0") })
	_ = cmd.Process.Signal(syscall.SIGINT)
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("client: got %v, want exit code 1, requests were lost", err)
	}
	<-read
	out := shown.String()
	for line := range strings.Lines(out) {
		if strings.Contains(line, "FPS dropped") {
			i := strings.LastIndex(line, eraseLine)
			if i < 0 || !strings.HasPrefix(line[i+len(eraseLine):], "{") {
				t.Errorf("log line: got %q, want the live line erased before it", line)
			}
		}
	}
	for _, part := range strings.Split(out, eraseLine) {
		if text, _, _ := strings.Cut(part, "\r"); strings.HasPrefix(text, "greencam1 ") && len([]rune(text)) >= 60 {
			t.Errorf("live line: got %d characters, want less than 60: %q", len([]rune(text)), text)
		}
	}
	if !strings.Contains(out, "\r\nSummary of ") {
		t.Errorf("the summary does not begin its own line:\n%q", out[max(0, len(out)-2000):])
	}
}

// mustPTY opens a pseudo terminal of that many columns.
func mustPTY(t *testing.T, columns uint16) (master, tty *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo terminals here: %v", err)
	}
	t.Cleanup(func() { _ = master.Close() })
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: columns})
	}
	if err != nil {
		t.Fatalf("pseudo terminal: %v", err)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatalf("pseudo terminal: %v", err)
	}
	return master, tty
}

func TestPlainLinesElsewhere(t *testing.T) {
	var out, errs bytes.Buffer
	s := newScreen(&out, &errs)
	s.Show("one")
	s.Show("two")
	if _, err := s.logs().Write([]byte("log\n")); err != nil {
		t.Fatal(err)
	}
	s.end()
	if out.String() != "one\ntwo\n" || errs.String() != "log\n" {
		t.Errorf("got %q and %q, want plain lines", &out, &errs)
	}
}
