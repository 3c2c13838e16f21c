package agent

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"framekeeper/internal/status"
	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/redistest"
)

// spoolAway puts frames of an earlier start out of reach, starts Redis anew, and
// returns when those frames were all captured, how many they are, and how to give
// the disk back.
func spoolAway(t *testing.T, server *redistest.Server, config string) (captured time.Time, frames int, back func()) {
	t.Helper()
	dir := filepath.Join(filepath.Dir(config), "spool")
	leaveFrames(t, server, config, dir)
	captured, frames = time.Now(), len(spooled(t, dir))
	if err := errors.Join(os.Rename(dir, dir+".away"), os.WriteFile(dir, nil, 0o600)); err != nil { // a file in its place stops root too
		t.Fatal(err)
	}
	server.Restart()
	return captured, frames, func() {
		t.Helper()
		if err := errors.Join(os.Remove(dir), os.Rename(dir+".away", dir)); err != nil {
			t.Fatal(err)
		}
	}
}

// An agent that began without its spool's disk ends for a fresh one when that is
// there, and loses nothing by it: neither its own frames nor those that waited.
func TestSpoolThatComesBack(t *testing.T) {
	testkit.NeedRedis(t)
	server := redistest.Start(t)
	config := writeConfig(t, server.URL(), "", tiny+"publish_fps = 30\n")
	captured, frames, back := spoolAway(t, server, config)
	t.Setenv("NOTIFY_SOCKET", "@nobody") // somebody would start it again

	log := &testkit.Log{}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- Program().Run(ctx, []string{"--config", config}, io.Discard, log) }()
	testkit.Eventually(t, "an agent that works without", func() bool {
		return strings.Contains(log.String(), "The spool cannot be used") && server.Client().XLen(t.Context(), "frames:greencam1").Val() > 5
	})
	back()
	select {
	case err := <-ended:
		if !errors.Is(err, errSpoolUsable) || exitCode(err) != status.ExitError {
			t.Fatalf("it ended with %v, want %v\n%s", err, errSpoolUsable, log)
		}
	case <-time.After(testkit.Patience):
		t.Fatalf("it did not end when the disk was back\n%s", log)
	}

	startAgent(t, config)
	testkit.Eventually(t, "what waited, in the stream", func() bool {
		found := 0
		for _, m := range entries(t, server.Client()) {
			if m.Header.CapturedUS < captured.UnixMicro() {
				found++
			}
		}
		return found == frames
	})
	if last := lastStart(t, server); last.Clean == nil || !*last.Clean {
		t.Errorf("the start is %+v, want that the one before had ended in order", last)
	}
	server.Kill()
	dir := filepath.Join(filepath.Dir(config), "spool")
	testkit.Eventually(t, "frames on the disk that is back", func() bool { return len(spooled(t, dir)) > 0 })
}

// One that nobody would start again works on.
func TestSpoolThatComesBackToALoneAgent(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	config := writeConfig(t, server.URL(), "", tiny+"publish_fps = 30\n")
	_, _, back := spoolAway(t, server, config)
	stop, log := startAgent(t, config)
	testkit.Eventually(t, "an agent that works without", func() bool { return strings.Contains(log.String(), "The spool cannot be used") })
	back()
	testkit.Eventually(t, "the advice", func() bool { return strings.Contains(log.String(), "restart the agent to use it") })
	newAsker(t, server.URL()).ask(t, nil)
	if err := stop(); err != nil {
		t.Error(err)
	}
}
