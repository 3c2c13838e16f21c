package proctest

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func mustSpawn(t *testing.T, script string) *Process {
	t.Helper()
	p, err := Spawn(t.TempDir(), nil, "sh", "-c", script)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.End(syscall.SIGKILL) })
	return p
}

func TestTellsTheLogFromTheRest(t *testing.T) {
	began := time.Now()
	p := mustSpawn(t, `echo a crash >&2; echo '{"message":"ready","level":"info","at":"1999","text":"no"}' >&2; sleep 60`)
	e, ok := p.Await(t.Context(), began, time.Minute, func(e Event) bool { return e.Msg == "ready" })
	if !ok || e.Level != "info" || e.At.Before(began) || !strings.Contains(e.Text, "1999") {
		t.Fatalf("got %+v, %v; want the line, stamped as it came", e, ok)
	}
	if err := p.End(syscall.SIGTERM); err == nil || p.Said() != "a crash" {
		t.Errorf("ended with %v and said %q, want a signal and the line that is no event", err, p.Said())
	}
	if got := p.Tail(5); strings.Count(got, "\n") != 1 || !strings.Contains(got, "ready") {
		t.Errorf("tail is %q", got)
	}
}

func TestAwaitEndsWithTheProcess(t *testing.T) {
	p := mustSpawn(t, "exit 3")
	if _, ok := p.Await(t.Context(), time.Time{}, time.Minute, func(Event) bool { return true }); ok {
		t.Error("an event from a process that said nothing")
	}
	if err := p.End(syscall.SIGTERM); err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("ended with %v, want its exit status", err)
	}
	if _, err := Spawn(t.TempDir(), nil, "/no/such/program"); err == nil {
		t.Error("a program that does not exist was started")
	}
}

func TestFootprint(t *testing.T) {
	p := mustSpawn(t, "exec sleep 60")
	if f := p.Footprint(); f.FDs == 0 || f.Threads == 0 || f.RSSKiB == 0 || p.Peak() == 0 {
		t.Errorf("got %v and a peak of %d KiB, want none of them zero", f, p.Peak())
	}
}
