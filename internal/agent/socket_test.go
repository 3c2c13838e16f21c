package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"framekeeper/internal/agentapi"
	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/redistest"
)

// without is an agent that has begun without a socket for the controller.
type without struct {
	server *redistest.Server
	state  string
	caller agentapi.Client
	log    *testkit.Log
}

// startWithout starts an agent after spoil has been at its state_dir.
func startWithout(t *testing.T, spoil func(state string)) *without {
	t.Helper()
	testkit.NeedRedis(t)
	w := &without{server: redistest.Start(t)}
	config := writeConfig(t, w.server.URL(), "", tiny)
	w.state = filepath.Join(filepath.Dir(config), "state")
	w.caller = agentapi.Client{Path: agentapi.Path(w.state, "greencam1")}
	spoil(w.state)
	_, w.log = startAgent(t, config)
	newAsker(t, w.server.URL()).ask(t, nil) // it serves all the same
	return w
}

func (w *without) answers(t *testing.T) bool {
	t.Helper()
	_, err := w.caller.Get(t.Context(), "/metrics", 1<<20)
	return err == nil
}

func (w *without) status(t *testing.T) string {
	t.Helper()
	return w.server.Client().Get(t.Context(), "status:greencam1").Val()
}

// saved reports whether the epoch in use is in state_dir.
func (w *without) saved(t *testing.T) bool {
	t.Helper()
	epoch := entries(t, w.server.Client())[0].Header.ID.String()
	epoch, _, _ = strings.Cut(epoch, "-")
	b, err := os.ReadFile(filepath.Join(w.state, "greencam1", "state.json"))
	return err == nil && strings.Contains(string(b), `"epoch":`+epoch+`,`)
}

// lacks waits for a status with the reason for which there is no socket.
func (w *without) lacks(t *testing.T, reason string) {
	t.Helper()
	testkit.Eventually(t, "a status with the reason: "+reason, func() bool { return strings.Contains(w.status(t), `"no_socket":"`+reason) })
	if w.answers(t) {
		t.Error("the socket answers already")
	}
}

// healed waits for the socket, and checks that its absence and its arrival have
// been logged once.
func (w *without) healed(t *testing.T) {
	t.Helper()
	testkit.Eventually(t, "the socket answers", func() bool { return w.answers(t) })
	testkit.Eventually(t, "a status without the trouble", func() bool { return !strings.Contains(w.status(t), "no_socket") })
	for _, message := range []string{"The agent's socket cannot be opened", "The agent's socket is open"} {
		if n := strings.Count(w.log.String(), message); n != 1 {
			t.Errorf("the log has %q %d times, want once", message, n)
		}
	}
}

// state_dir cannot be written at the start, and so nothing is locked or saved. A
// file in its place stops root too.
func TestTheSocketComesWithTheDisk(t *testing.T) {
	t.Parallel()
	w := startWithout(t, func(state string) {
		if err := os.WriteFile(state, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	})
	w.lacks(t, "no lock in state_dir")
	if err := os.Remove(w.state); err != nil {
		t.Fatal(err)
	}
	w.healed(t)
	testkit.Eventually(t, "the epoch is saved", func() bool { return w.saved(t) })
	if !strings.Contains(w.log.String(), "the camera is locked and its epoch is saved") {
		t.Error("the log lacks that state_dir can be written")
	}
}

func TestTheSocketComesWhenItsPlaceIsFree(t *testing.T) {
	t.Parallel()
	var path string
	w := startWithout(t, func(state string) {
		path = agentapi.Path(state, "greencam1")
		if err := os.MkdirAll(path, 0o750); err != nil {
			t.Fatal(err)
		}
	})
	w.lacks(t, path+" is there and is no socket")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	w.healed(t)
}

// A full disk still takes the lock and the socket, which have no content: the
// agent can be asked all the time, and saves its epoch as soon as it can.
func TestAFullDiskKeepsNoSocketAway(t *testing.T) {
	t.Parallel()
	filler := ""
	w := startWithout(t, func(state string) {
		if err := os.Mkdir(state, 0o750); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount("tmpfs", state, "tmpfs", 0, "size=1m"); err != nil {
			t.Skipf("cannot mount a file system to fill: %v", err)
		}
		t.Cleanup(func() { _ = unix.Unmount(state, unix.MNT_DETACH) })
		filler = filepath.Join(state, "filler")
		if err := os.WriteFile(filler, make([]byte, 2<<20), 0o600); err == nil {
			t.Fatal("the disk is not full")
		}
	})
	testkit.Eventually(t, "the socket answers", func() bool { return w.answers(t) })
	if w.saved(t) || !strings.Contains(w.log.String(), "The epoch cannot be saved") {
		t.Error("the epoch counts as saved on a full disk")
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the epoch is saved", func() bool { return w.saved(t) })
}
