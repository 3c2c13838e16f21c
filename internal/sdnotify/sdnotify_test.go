package sdnotify

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// The test binary plays a child when it is started with this variable.
const playChild = "SDNOTIFY_TEST_SEND"

func TestMain(m *testing.M) {
	if text := os.Getenv(playChild); text != "" {
		s := FromEnv(os.Getenv)
		for line := range strings.SplitSeq(text, "|") {
			if err := s.Send(strings.Split(line, ",")...); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		}
		fmt.Print(s.Watchdog())
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func listen(t *testing.T) *Listener {
	t.Helper()
	l, err := Listen()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// child sends the messages, and returns its pid and what it takes the watchdog
// for.
func child(t *testing.T, l *Listener, watchdog time.Duration, text string) (pid int, said string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	ours := append(os.Environ(), playChild+"="+text, EnvSocket+"=/our/own", EnvPID+"=1", EnvWatchdog+"=77")
	cmd.Env = l.Env(ours, watchdog)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return cmd.Process.Pid, string(out)
}

func TestOnlyTheChildIsHeard(t *testing.T) {
	l := listen(t)
	pid, said := child(t, l, 1500*time.Millisecond, "READY=1,STATUS=all = well|WATCHDOG=1,nonsense,=x")
	if said != "1.5s" {
		t.Errorf("the child takes the watchdog for %s, want 1.5s", said)
	}
	child(t, l, 0, "WATCHDOG=forged") // another process that knows the address
	l.Finish()
	var got []Message
	for {
		m, err := l.Receive(pid)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, m)
	}
	want := []string{"map[READY:1 STATUS:all = well]", "map[WATCHDOG:1]"}
	if said := fmt.Sprint(got); said != "["+strings.Join(want, " ")+"]" {
		t.Errorf("heard %s, want %s", said, want)
	}
}

func TestNoWatchdogIsHandedOn(t *testing.T) {
	l := listen(t)
	if _, said := child(t, l, 0, Watchdog); said != "0s" {
		t.Errorf("the child takes the watchdog for %s, want none: ours is not the child's", said)
	}
}

// A sender that waits would be held up by a manager that hangs.
func TestSendNeverWaits(t *testing.T) {
	l := listen(t)
	s := FromEnv(func(name string) string { return map[string]string{EnvSocket: l.address, EnvKey: l.key}[name] })
	for range 100000 {
		if err := s.Send(Watchdog); err != nil {
			l.Finish() // must not wait either
			if _, err := l.Receive(1); err == nil {
				t.Error("Receive heard somebody else")
			}
			return
		}
	}
	t.Fatal("100000 unread messages were taken, want an error when the queue is full")
}

// Anybody on the machine sees the address in /proc/net/unix and may send to it.
func TestAFloodTakesNoRoom(t *testing.T) {
	l := listen(t)
	for i := range 10000 {
		key := []string{"", "WATCHDOG=1", keyLine("guessed"), keyLine(l.key)[:8]}[i%4]
		if err := send(l.address, key); err != nil {
			t.Fatalf("message %d of somebody else is kept: %v", i, err)
		}
	}
	pid, _ := child(t, l, 0, Watchdog)
	if m, err := l.Receive(pid); err != nil || m["WATCHDOG"] != "1" {
		t.Errorf("heard %v, %v, want the child's sign of life", m, err)
	}
}

func TestCloseEndsReceive(t *testing.T) {
	l := listen(t)
	done := make(chan error, 1)
	go func() { _, err := l.Receive(1); done <- err }()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Receive returned %v, want net.ErrClosed", err)
	}
}

// systemd's own socket is a file.
func TestSendsToAPath(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	s := FromEnv(func(name string) string { return map[string]string{EnvSocket: path}[name] })
	if err := s.Send(Ready, Status("two\nlines")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	n, err := conn.Read(buf)
	if got, want := string(buf[:n]), "READY=1\nSTATUS=two lines"; err != nil || got != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

func TestFromEnv(t *testing.T) {
	me := fmt.Sprint(os.Getpid())
	for _, c := range []struct {
		socket, usec, pid string
		manager           bool
		want              time.Duration
	}{
		{"", "1000000", "", false, 0},
		{"vsock:2:1", "1000000", "", false, 0},
		{"@a", "", "", true, 0},
		{"@a", "1000000", "", true, time.Second},
		{"/a", "1000000", me, true, time.Second},
		{"/a", "1000000", "1", true, 0},
		{"/a", "-5", "", true, 0},
		{"/a", "99999999999999999", "", true, 0},
		{"/a", "soon", "", true, 0},
	} {
		s := FromEnv(func(name string) string {
			return map[string]string{EnvSocket: c.socket, EnvWatchdog: c.usec, EnvPID: c.pid}[name]
		})
		if (s != nil) != c.manager || s.Watchdog() != c.want {
			t.Errorf("%+v: manager %v, watchdog %v", c, s != nil, s.Watchdog())
		}
	}
	var none *Sender
	if err := none.Send(Ready); err != nil {
		t.Errorf("without a manager: %v", err)
	}
}

func TestEnvReplacesOurs(t *testing.T) {
	l := listen(t)
	got := l.Env([]string{"A=1", EnvSocket + "=x", EnvWatchdog + "=1", EnvPID + "=1", EnvKey + "=x"}, 0)
	if want := []string{"A=1", EnvSocket + "=" + l.address, EnvKey + "=" + l.key}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"", "READY=1\nSTATUS=x=y\n", "=\n\n\x00=\xff", "A"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for name, value := range parse(b) {
			if name == "" || strings.ContainsAny(name, "\n=") || strings.Contains(value, "\n") {
				t.Errorf("%q gave %q = %q", b, name, value)
			}
		}
	})
}
