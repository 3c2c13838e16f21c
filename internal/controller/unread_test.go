package controller

import (
	"bytes"
	"context"
	"errors"
	"os"
	"syscall"
	"testing"
	"time"

	"framekeeper/internal/status"
	"framekeeper/internal/web"
)

// A log that nobody reads any more (journald hangs, a terminal is stopped) must
// hold up neither the agents, whose lines go there too, nor the end.
func TestGoesOnWithALogNobodyReads(t *testing.T) {
	s := newSetup(t, "redis://127.0.0.1:1/0", "")
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer write.Close()
	defer read.Close() // first: what waits to write then ends
	fill(t, write)

	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- Program().Run(ctx, []string{"--config", s.config}, os.Stdout, write) }()
	defer cancel()
	var last status.Process
	for lives := range 4 {
		eventually(t, "another agent", func() bool {
			now := s.agent(t)
			if now.State != status.ProcessRunning || now.PID == last.PID {
				return false
			}
			last = now
			return true
		})
		if last.Restarts != lives {
			t.Fatalf("got %+v, want %d restarts", last, lives)
		}
		if err := syscall.Kill(last.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("run returned %v, want nil", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("the end waits for somebody to read the log")
	}
}

// agent is how cam1's process is; nothing is known before the page is there.
func (s setup) agent(t *testing.T) status.Process {
	t.Helper()
	h, err := askHealth(t.Context(), web.Settings{HTTP: s.http}, status.Client{})
	if err != nil {
		return status.Process{}
	}
	return h.Agents["cam1"]
}

// fill leaves no room in a pipe.
func fill(t *testing.T, pipe *os.File) {
	t.Helper()
	for _, piece := range [][]byte{bytes.Repeat([]byte("x"), 4096), []byte("x")} {
		for {
			if err := pipe.SetWriteDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
				t.Fatal(err)
			}
			if _, err := pipe.Write(piece); errors.Is(err, os.ErrDeadlineExceeded) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := pipe.SetWriteDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
}
