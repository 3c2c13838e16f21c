package outbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"framekeeper/internal/testkit"
	"framekeeper/pkg/frame"
)

var noon = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

func claim(t *testing.T, dir string, now time.Time) (*Claim, *testkit.Log) {
	t.Helper()
	log := &testkit.Log{}
	o, err := TakeClaim(dir, "testcam", now, zerolog.New(log))
	if err != nil {
		t.Fatalf("claim: %v", err)
	}
	t.Cleanup(func() { // a test that dies must not leave the lock open
		if o.lock != nil {
			_ = o.lock.Close()
		}
	})
	return o, log
}

// killed is what a kill -9 leaves: the lock is free, nothing was written.
func killed(o *Claim) {
	// Closing alone leaves it locked by a child that another test is forking just now.
	_ = unix.Flock(int(o.lock.Fd()), unix.LOCK_UN)
	_ = o.lock.Close()
	o.lock = nil
}

// end is an orderly end of a log that has given IDs up to last.
func (c *Claim) end(last frame.ID, clean bool) {
	l := c.ledger.clone()
	l.give(last)
	c.release(l, last, clean)
}

// before is what this start says of those before.
func (c *Claim) before() (previous frame.ID, clean bool) {
	return c.ledger.newestBefore(c.Epoch), c.ledger.complete(frame.ID{}, c.Epoch)
}

// raise is what a log does whose epoch has to be higher.
func (c *Claim) raise(to uint64) error {
	l := c.ledger.clone()
	l.open(to)
	return c.setEpoch(to, l)
}

func TestEpochsRiseAndNeverRepeat(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	last := uint64(0)
	for i, now := range []time.Time{
		noon, noon, noon.Add(time.Hour), noon.Add(-time.Hour), time.Unix(0, 0), time.Unix(-5, 0), noon.Add(-time.Minute), noon.Add(48 * time.Hour),
	} {
		o, _ := claim(t, dir, now)
		if o.Epoch <= last {
			t.Errorf("start %d at %s: epoch %d, not above %d", i, now, o.Epoch, last)
		}
		if want := uint64(max(now.Unix(), 0)); o.Epoch < want {
			t.Errorf("start %d: epoch %d, below the clock's %d", i, o.Epoch, want)
		}
		last = o.Epoch
		if i%2 == 0 {
			killed(o)
		} else {
			o.end(id(o.Epoch, 5), true)
		}
	}
}

func TestTheNextStartReadsHowTheLastOneEnded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, _ := claim(t, dir, noon)
	if previous, clean := first.before(); !clean || !previous.IsZero() || !first.EpochSaved {
		t.Errorf("first start: %+v, want clean, nothing before, durable", first)
	}
	first.end(id(first.Epoch, 42), true)
	second, _ := claim(t, dir, noon)
	if previous, clean := second.before(); !clean || previous != id(first.Epoch, 42) || second.StateID != first.StateID || second.Instance == first.Instance {
		t.Errorf("after an orderly end: %+v, want clean, previous %s, the same owner, another instance", second, id(first.Epoch, 42))
	}
	if err := second.raise(second.Epoch + 1000); err != nil {
		t.Fatal(err)
	}
	killed(second)
	third, _ := claim(t, dir, noon)
	if previous, clean := third.before(); clean || previous != id(first.Epoch, 42) || third.Epoch != second.Epoch+1 {
		t.Errorf("after a kill: %+v, want unclean, previous %s, epoch %d", third, id(first.Epoch, 42), second.Epoch+1)
	}
	third.end(id(third.Epoch, 3), true)
	fourth, _ := claim(t, dir, noon)
	if previous, clean := fourth.before(); clean || previous != id(third.Epoch, 3) {
		t.Errorf("an orderly end after a kill that no reader has learned of: %+v, want unclean, previous %s", fourth, id(third.Epoch, 3))
	}
	if !fourth.ledger.complete(id(third.Epoch, 2), fourth.Epoch) {
		t.Error("a stream that has the third start's entries: got unclean, want clean")
	}
}

func TestTheNextStartReadsWhereTheSpoolWas(t *testing.T) {
	dir := t.TempDir()
	want := func(what string, o *Claim, spool string) {
		t.Helper()
		if o.Spool != spool || SavedSpool(dir, "testcam") != spool {
			t.Errorf("%s: got %q, and others %q, want %q", what, o.Spool, SavedSpool(dir, "testcam"), spool)
		}
	}
	o, _ := claim(t, dir, time.Now())
	want("the first", o, "")
	if err := o.SetSpool("/data/spool/cam1"); err != nil {
		t.Fatal(err)
	}
	if err := o.raise(o.Epoch + 5); err != nil {
		t.Fatal(err)
	}
	killed(o)
	o, _ = claim(t, dir, time.Now())
	want("after a kill", o, "/data/spool/cam1")
	o.end(frame.ID{Epoch: o.Epoch, Seq: 3}, true)
	o, _ = claim(t, dir, time.Now())
	want("after an orderly end", o, "/data/spool/cam1")
	o.end(frame.ID{}, true)
	if got := SavedSpool(dir, "cam2"); got != "" {
		t.Errorf("of a camera that never was: got %q", got)
	}
}

func statePath(c *Claim) string { return filepath.Join(c.dir, stateName) }

func TestASecondClaimIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, _ := claim(t, dir, noon)
	before, err := os.ReadFile(statePath(first))
	if err != nil {
		t.Fatal(err)
	}
	_, err = TakeClaim(dir, "testcam", noon, zerolog.Nop())
	if !errors.Is(err, ErrClaimed) || !strings.Contains(err.Error(), fmt.Sprintf("process %d ", os.Getpid())) {
		t.Errorf("a second claim got %v, want %v with the pid %d", err, ErrClaimed, os.Getpid())
	}
	if after, err := os.ReadFile(statePath(first)); err != nil || string(after) != string(before) {
		t.Errorf("the refused start changed the state from %s to %s (%v)", before, after, err)
	}
	if other, err := TakeClaim(dir, "othercam", noon, zerolog.Nop()); err != nil {
		t.Errorf("another camera is refused too: %v", err)
	} else {
		other.end(frame.ID{}, true)
	}
	first.end(frame.ID{}, true)
	claim(t, dir, noon)
}

func TestACorruptStateIsSetAside(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "{", `{"epoch":"x"}`, `{"last":"x"}`, "[]"} {
		dir := t.TempDir()
		first, _ := claim(t, dir, noon)
		first.end(id(first.Epoch, 9), true)
		if err := os.WriteFile(statePath(first), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		o, log := claim(t, dir, noon.Add(time.Minute))
		if previous, _ := o.before(); previous != id(first.Epoch, 9) {
			t.Errorf("%q: got previous %s, want it from the journal", text, previous)
		}
		if aside, err := os.ReadFile(statePath(first) + ".corrupt"); err != nil || string(aside) != text {
			t.Errorf("%q: set aside is %q (%v)", text, aside, err)
		}
		if testkit.Count(log.Messages(), "The saved state is corrupt; the agent starts without it") != 1 {
			t.Errorf("%q: the log is %s", text, log)
		}
		if o.Epoch != uint64(noon.Add(time.Minute).Unix()) || !o.EpochSaved {
			t.Errorf("%q: %+v, want the clock's epoch, saved", text, o)
		}
	}
}

// An SD card that went read-only must not end the pictures. A file stands where
// the directory should be, which stops root too.
func TestAnUnwritableStateDirectoryWarnsAndRuns(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	o, log := claim(t, file, noon)
	if o.Epoch != uint64(noon.Unix()) || o.EpochSaved {
		t.Errorf("%+v, want the clock's epoch, not durable", o)
	}
	if !strings.Contains(log.String(), "make it writable") || !strings.Contains(log.String(), `"level":"error"`) {
		t.Errorf("the log has no error with advice: %s", log)
	}
	if err := o.raise(o.Epoch + 7); err != nil || o.Epoch != uint64(noon.Unix())+7 {
		t.Errorf("raise: %v, epoch %d", err, o.Epoch)
	}
	o.end(frame.ID{}, true)
}

// What could not be locked and saved at the start is, once it can be; and the
// epochs of a disk that was not there at the start do not fall.
func TestAClaimIsCompleted(t *testing.T) {
	t.Parallel()
	for name, there := range map[string]string{"an empty disk": "", "one with a later epoch": fmt.Sprintf(`{"epoch":%d,"spool":"/data"}`, noon.Unix()+50)} {
		dir := filepath.Join(t.TempDir(), "state")
		if err := os.WriteFile(dir, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		o, _ := claim(t, dir, noon)
		frames := NewLog(LogConfig{Camera: "testcam", Claim: o, Log: zerolog.Nop()})
		if err := o.Complete(frames); err == nil || o.Locked() {
			t.Errorf("%s: locked a file: %v", name, err)
		}
		if err := os.Remove(dir); err != nil {
			t.Fatal(err)
		}
		want := uint64(noon.Unix())
		if there != "" {
			want += 50
			if err := errors.Join(os.MkdirAll(filepath.Dir(statePath(o)), 0o750), os.WriteFile(statePath(o), []byte(there), 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		if err := o.Complete(frames); err != nil || !o.Locked() || o.Epoch != uint64(noon.Unix()) {
			t.Errorf("%s: got %v, locked %v, epoch %d in use, want it locked and the same epoch", name, err, o.Locked(), o.Epoch)
		}
		if _, err := TakeClaim(dir, "testcam", noon, zerolog.Nop()); !errors.Is(err, ErrClaimed) {
			t.Errorf("%s: a second claim got %v", name, err)
		}
		o.end(frame.ID{Epoch: o.Epoch, Seq: 7}, true)
		next, _ := claim(t, dir, noon)
		if previous, clean := next.before(); next.Epoch != want+1 || !clean || previous.Seq != 7 || (next.Spool == "/data") != (there != "") {
			t.Errorf("%s: the next start is %+v, want epoch %d after a clean end", name, next, want+1)
		}
	}
}

func TestRequestIDsSortByTime(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	last := ""
	for range 20 {
		now := frame.NewRequestID()
		if len(now) != 32 || seen[now] || now[:12] < last {
			t.Errorf("ID %q after time %q: want 32 digits, never twice, rising", now, last)
		}
		seen[now], last = true, now[:12]
		time.Sleep(time.Millisecond)
	}
}

// What stands in the place of the agent's files is neither followed nor waited for: the
// directory may be writable for somebody else.
func TestLinksAndPipesAreNotFollowed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	victim := filepath.Join(dir, "victim")
	camera := filepath.Join(dir, "testcam")
	if err := errors.Join(os.WriteFile(victim, []byte("precious"), 0o600), os.Mkdir(camera, 0o750)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{stateName, journalName} {
		if err := unix.Mkfifo(filepath.Join(camera, name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o, log := claim(t, dir, noon) // returns
	if o.EpochSaved || !o.MayHaveSpool() || !strings.Contains(log.String(), "expected a regular file") {
		t.Errorf("got %+v, want that the state could not be read, and that nobody knows of a spool: %s", o, log)
	}
	killed(o)
	for _, name := range []string{"lock", stateName, journalName} {
		path := filepath.Join(camera, name)
		if err := errors.Join(os.Remove(path), os.Symlink(victim, path)); err != nil {
			t.Fatal(err)
		}
	}
	o, log = claim(t, dir, noon)
	if b, err := os.ReadFile(victim); err != nil || string(b) != "precious" || o.Locked() || !strings.Contains(log.String(), "remove it") {
		t.Errorf("the file behind the links is %q (%v), locked %v: %s", b, err, o.Locked(), log)
	}
}

// unreadOnce is a file that cannot be read at the start.
type unreadOnce struct {
	diskFile
	read *bool
}

func (u unreadOnce) Read() ([]byte, error) {
	if !*u.read {
		*u.read = true
		return nil, syscall.EIO
	}
	return u.diskFile.Read()
}

// A start that could not read where frames wait does not overwrite that when it ends.
func TestWhatCouldNotBeReadIsNotOverwritten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	state, journal := diskFile{filepath.Join(dir, stateName)}, diskFile{filepath.Join(dir, journalName)}
	if err := state.Replace([]byte(`{"epoch": 7, "spool": "/frames/wait/here"}`)); err != nil {
		t.Fatal(err)
	}
	c := &Claim{dir: dir, now: time.Now, log: zerolog.Nop()}
	if err := c.takeLock(); err != nil {
		t.Fatal(err)
	}
	c.begin(unreadOnce{state, new(bool)}, journal, time.Now())
	c.end(frame.ID{}, false)
	if saved, err := readState(state); err != nil || saved.Spool != "/frames/wait/here" || saved.Epoch < 7 {
		t.Errorf("%+v is saved (%v), want the spool that was", saved, err)
	}
}
