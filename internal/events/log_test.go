package events

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"framekeeper/internal/status"
	"framekeeper/internal/testkit"
)

// logged is a log of a file, and what it writes to the program's own.
func logged(t *testing.T, file string) (*Log, *bytes.Buffer) {
	t.Helper()
	out := &bytes.Buffer{}
	logger := zerolog.New(out)
	return NewLog(file, func() *zerolog.Logger { return &logger }), out
}

func texts(all []Event) (texts []string) {
	for _, e := range all {
		texts = append(texts, e.Text)
	}
	return texts
}

func newestOf(l *Log) []Event { return l.Since(time.Time{}, maxEvents) }

// event of a camera, so many seconds after a moment of the test.
func event(camera string, health status.Health, second int) Event {
	return Event{Kind: Camera, Health: health, Camera: camera, Text: fmt.Sprintf("%s %s %d", camera, health, second), TimeUS: int64(1e15) + int64(second)*1e6}
}

func TestEventsOutliveTheProgram(t *testing.T) {
	file := filepath.Join(t.TempDir(), "events.jsonl")
	l, _ := logged(t, file)
	l.Add(event("cam1", status.Failed, 0))
	l.Save()
	l.Add(event("cam1", status.Healthy, 1))
	again := l.Add(event("cam1", status.Failed, 2)) // the first one, counted
	l.Save()
	if again.ID != 1 || again.Count != 2 || again.FirstUS != 1e15 {
		t.Errorf("a repetition is %+v", again)
	}
	next, out := logged(t, file)
	want := []string{"cam1 failed 2", "cam1 healthy 1"}
	if got := texts(newestOf(next)); !slices.Equal(got, want) || out.Len() > 0 {
		t.Errorf("after a start: %q, want %q; the log: %s", got, want, out)
	}
	if e := next.Add(event("cam2", status.Failed, 3)); e.ID != 3 {
		t.Errorf("the next ID is %d, want 3", e.ID)
	}
	if got := texts(next.Since(time.UnixMicro(1e15+2e6), 10)); !slices.Equal(got, []string{"cam2 failed 3", "cam1 failed 2"}) {
		t.Errorf("since the second: %q", got)
	}
}

// What is torn or damaged costs itself only, and is gone with the next event.
func TestDamagedFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "events.jsonl")
	l, _ := logged(t, file)
	for i := range 3 {
		l.Add(event(fmt.Sprintf("cam%d", i), status.Failed, i))
	}
	l.Save()
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(whole, []byte("\n"))
	for name, c := range map[string]struct {
		text []byte
		want int
	}{
		"torn":    {whole[:len(whole)-9], 2},
		"damaged": {slices.Concat(lines[0], []byte("\x00\x00{\n[]\n{\"id\": 7}"), lines[2]), 1},
		"empty":   {nil, 0},
	} {
		if err := os.WriteFile(file, c.text, 0o600); err != nil {
			t.Fatal(err)
		}
		l, out := logged(t, file)
		if got := len(newestOf(l)); got != c.want || out.Len() > 0 {
			t.Errorf("%s: %d events, want %d; the log: %s", name, got, c.want, out)
		}
		l.Add(event("late", status.Failed, 1000))
		l.Save()
		next, _ := logged(t, file)
		text, _ := os.ReadFile(file)
		if got := len(newestOf(next)); got != c.want+1 || bytes.Count(text, []byte("\n")) != got {
			t.Errorf("%s: %d events after the next one, want %d; the file is %q", name, got, c.want+1, text)
		}
	}
}

func TestFileStaysSmall(t *testing.T) {
	file := filepath.Join(t.TempDir(), "events.jsonl")
	l, _ := logged(t, file)
	for i := range 2 * maxEvents {
		e := event("cam1", status.Failed, i*1000)
		e.Text = strings.Repeat("long ", 80)
		l.Add(e)
		if i%20 == 0 {
			l.Save()
		}
	}
	l.Save()
	info, err := os.Stat(file)
	if err != nil || info.Size() > maxFile {
		t.Errorf("the file has %d bytes, %v", info.Size(), err)
	}
	if got := len(newestOf(l)); got != maxEvents {
		t.Errorf("%d events in memory", got)
	}
	next, _ := logged(t, file)
	got := newestOf(next)
	if len(got) < 400 || got[0].ID != 2*maxEvents || got[len(got)-1].ID != uint64(2*maxEvents-len(got)+1) {
		t.Errorf("%d events, from %d to %d", len(got), got[len(got)-1].ID, got[0].ID)
	}
}

// What flaps is counted, and written by the minute.
func TestFlapping(t *testing.T) {
	file := filepath.Join(t.TempDir(), "events.jsonl")
	l, _ := logged(t, file)
	for i := range 1000 {
		l.Add(event("cam1", []status.Health{status.Failed, status.Healthy}[i%2], i))
		select {
		case <-l.wake:
			l.Save()
		default:
		}
	}
	got := newestOf(l)
	text, _ := os.ReadFile(file)
	if len(got) != 2 || got[0].Times() != 500 || got[0].Health != status.Healthy || bytes.Count(text, []byte("\n")) != 2 {
		t.Errorf("got %+v and the file %q", got, text)
	}
	if e := l.Add(event("cam1", status.Failed, 2000)); e.ID != 3 {
		t.Errorf("the same after a long time is %+v", e)
	}
	if e := l.Add(event("cam1", status.Failed, 0)); e.ID != 4 {
		t.Errorf("the same by a clock that was set back is %+v", e)
	}
}

// Nothing but a regular file is read or written.
func TestForeignFiles(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("keep\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, put := range map[string]func(string) error{
		"link":      func(p string) error { return os.Symlink(secret, p) },
		"pipe":      func(p string) error { return unix.Mkfifo(p, 0o600) },
		"directory": func(p string) error { return os.Mkdir(p, 0o700) },
	} {
		file := filepath.Join(dir, name)
		if err := put(file); err != nil {
			t.Fatal(err)
		}
		l, out := logged(t, file)
		l.Add(event("cam1", status.Failed, 0))
		l.Save()
		if n := strings.Count(out.String(), "\n"); n != 1 || !strings.Contains(out.String(), "expected a regular file") || len(newestOf(l)) != 1 {
			t.Errorf("%s: %d events, and logged: %s", name, len(newestOf(l)), out)
		}
	}
	if text, _ := os.ReadFile(secret); string(text) != "keep\n" {
		t.Errorf("what a link led to is %q", text)
	}
}

// A disk that refuses costs one line in the log; when it takes files again all is saved.
func TestRefusingDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gone")
	l, out := logged(t, filepath.Join(dir, "events.jsonl"))
	for i := range 3 {
		l.Add(event(fmt.Sprintf("cam%d", i), status.Failed, i))
		l.Save()
	}
	if n := strings.Count(out.String(), "Events cannot be saved"); n != 1 {
		t.Errorf("logged %d times: %s", n, out)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	l.Save()
	next, _ := logged(t, filepath.Join(dir, "events.jsonl"))
	if got := len(newestOf(next)); got != 3 {
		t.Errorf("%d events were saved, want 3", got)
	}
}

func TestRunSavesWhatIsNewAndWhatIsLeft(t *testing.T) {
	file := filepath.Join(t.TempDir(), "events.jsonl")
	l, _ := logged(t, file)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); l.Run(ctx) }()
	l.Add(event("cam1", status.Failed, 0))
	testkit.Eventually(t, "a new event is saved", func() bool { _, err := os.Stat(file); return !errors.Is(err, os.ErrNotExist) })
	l.Add(event("cam1", status.Failed, 1))
	cancel()
	<-ended
	next, _ := logged(t, file)
	if got := next.Last(); got == nil || got.Count != 2 {
		t.Errorf("got %+v, want the repetition too", got)
	}
}

func TestParseSince(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for given, want := range map[string]time.Time{
		"90m": now.Add(-90 * time.Minute), "0s": now, "2026-01-01T00:00:00+01:00": time.Date(2025, 12, 31, 23, 0, 0, 0, time.UTC),
	} {
		if got, err := ParseSince(given, now); err != nil || !got.Equal(want) {
			t.Errorf("%s: got %v, %v", given, got, err)
		}
	}
	for _, given := range []string{"", "-5m", "yesterday", "2026-01-01", "1767322800"} {
		if _, err := ParseSince(given, now); err == nil || !strings.Contains(err.Error(), "expected a time such as 2026-01-02T03:04:05Z, or how long ago") {
			t.Errorf("%q: got %v", given, err)
		}
	}
}
