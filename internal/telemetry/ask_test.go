package telemetry

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// asked are readings that are waited for as long as a busy machine needs.
func asked(t *testing.T) *readings {
	t.Helper()
	return &readings{patience: 10 * time.Second, log: zerolog.New(zerolog.NewTestWriter(t)), all: map[string]*reading{}}
}

// A sensor on a stuck bus, here a pipe that nobody writes to: reading it hangs in
// the kernel.
func TestASensorThatHangs(t *testing.T) {
	dir := t.TempDir()
	for _, zone := range []string{"thermal_zone0", "thermal_zone1"} {
		if err := os.Mkdir(filepath.Join(dir, zone), 0o750); err != nil {
			t.Fatal(err)
		}
	}
	stuck := filepath.Join(dir, "thermal_zone0", "temp")
	if err := syscall.Mkfifo(stuck, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "thermal_zone1", "temp"), []byte("41000\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	r := asked(t)
	r.log = zerolog.New(&log)
	r.patience = 50 * time.Millisecond
	for range 3 {
		r.hanging = nil
		if got := temperature(t.Context(), r, dir); show(got) != "41" {
			t.Errorf("got %s, want the other sensor's 41", show(got))
		}
		if len(r.hanging) != 1 || r.hanging[0] != "temperature of thermal_zone0" {
			t.Errorf("got %q, want the one that hangs", r.hanging)
		}
	}
	count := func(text string) int { return strings.Count(log.String(), text) }
	if count("A measurement of the box hangs") != 1 || count(`"reading":"temperature of thermal_zone0"`) != 1 {
		t.Errorf("want it logged once:\n%s", &log)
	}

	w, err := os.OpenFile(stuck, os.O_WRONLY, 0) // whoever has hung gets an answer
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.WriteString("52000\n"); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	<-r.all["temperature of thermal_zone0"].done
	if err := os.Remove(stuck); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(stuck, []byte("53000\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.hanging, r.patience = nil, 10*time.Second
	if got := temperature(t.Context(), r, dir); show(got) != "53" || len(r.hanging) != 0 {
		t.Errorf("got %s and %q, want 53 and none that hangs", show(got), r.hanging)
	}
	if count("A measurement of the box works again") != 1 {
		t.Errorf("want it logged that it is back:\n%s", &log)
	}
}

// A program that hangs is ended, and counts as hanging all the same.
func TestAProgramThatHangs(t *testing.T) {
	dir := t.TempDir()
	script, release := filepath.Join(dir, "vcgencmd"), filepath.Join(dir, "release")
	text := "#!/bin/sh\n[ -e " + release + " ] || exec sleep 1000\necho throttled=0x0\n"
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil { //nolint:gosec // to be run
		t.Fatal(err)
	}
	var log strings.Builder
	r := asked(t)
	r.log = zerolog.New(&log)
	r.patience = 100 * time.Millisecond
	for range 2 {
		r.hanging = nil
		if got := throttled(t.Context(), r, filepath.Join(dir, "none"), script); got != nil || len(r.hanging) != 1 || r.hanging[0] != script {
			t.Errorf("got %+v and %q, want nothing, because it hangs", got, r.hanging)
		}
		<-r.all[script].done
	}
	if err := os.WriteFile(release, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r.patience, r.hanging = 10*time.Second, nil
	if got := throttled(t.Context(), r, filepath.Join(dir, "none"), script); got == nil || len(r.hanging) != 0 {
		t.Errorf("got %+v and %q, want what it says", got, r.hanging)
	}
	if n, m := strings.Count(log.String(), "hangs"), strings.Count(log.String(), "works again"); n != 1 || m != 1 {
		t.Errorf("got it logged %d and %d times, want once each:\n%s", n, m, &log)
	}
}

func TestASampleNamesWhatHangs(t *testing.T) {
	m := newMeter(&Config{Box: "b", Path: t.TempDir(), Agents: func() []Agent {
		return []Agent{{Name: "cam1", PID: os.Getpid(), State: "running"}}
	}})
	hang := make(chan struct{})
	m.asked.all["the agents' processes"], m.asked.all["disk"] = &reading{done: hang}, &reading{done: hang}
	s := m.measure(t.Context())
	if b, _ := json.Marshal(s.Hanging); string(b) != `["the agents' processes","disk"]` || s.Disk != nil || s.Memory == nil {
		t.Errorf("got %s, disk %s and memory %s, want the two, no disk, and memory", b, show(s.Disk), show(s.Memory))
	}
	if a := s.Agents["cam1"]; a.PID != os.Getpid() || a.State != "running" || a.RSS != nil {
		t.Errorf("got %+v, want what the supervisor knows", a)
	}
	close(hang)
	if s = m.measure(t.Context()); s.Hanging != nil || s.Disk == nil || s.Agents["cam1"].RSS == nil {
		t.Errorf("got %+v, want all of it", s)
	}
}

// What hangs may be asked only to be ended after the whole of the patience.
func TestWhatHangsIsAskedRarely(t *testing.T) {
	r, n := asked(t), 0
	r.patience, r.again = time.Millisecond, time.Hour
	sensor := func(ctx context.Context) bool {
		n++
		<-ctx.Done()
		return true
	}
	for range 3 {
		ask(t.Context(), r, "sensor", sensor)
		<-r.all["sensor"].done
	}
	if n != 1 || len(r.hanging) != 3 {
		t.Errorf("it was asked %d times, and counted as hanging %d times, want 1 and 3", n, len(r.hanging))
	}
	r.all["sensor"].next = time.Time{}
	ask(t.Context(), r, "sensor", sensor)
	if <-r.all["sensor"].done; n != 2 {
		t.Errorf("it was asked %d times, want once more when it is time", n)
	}
}

func TestAskingEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r, hang := asked(t), make(chan struct{})
	got := ask(ctx, r, "sensor", func(context.Context) bool {
		cancel()
		<-hang
		return true
	})
	if got || len(r.hanging) != 0 {
		t.Errorf("got %v and %q, want nothing, and nothing reported", got, r.hanging)
	}
	close(hang)
}
