package client

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/redisconn"
)

func TestRunFailsWhenNothingArrives(t *testing.T) {
	b := newBench(t, "stream", "greencam1")
	a := startAgent(t, b.redis, "greencam1", "stream")
	a.silent = true
	wantRunFailure(t, b, "greencam1: nothing arrived", "run", "--duration", "200ms")
	if got := b.summary(); got["lost"] != got["requests"] || got["lost"] == "0" {
		t.Errorf("summary: got %v, want every request lost", got)
	}
	b.stdout = buffer{}
	b.mustClient("run", "--duration", "50ms", "--no-requests") // nothing asked, nothing missing
}

func wantRunFailure(t *testing.T, b *bench, want string, args ...string) {
	t.Helper()
	if err := b.client(t.Context(), args...); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("client %q: got %v, want %q", args, err, want)
	}
}

func TestRunFailsWithoutRedis(t *testing.T) {
	b := newBench(t, "stream", "greencam1")
	b.redis.Kill()
	wantRunFailure(t, b, "never reached", "run", "--duration", "300ms")
}

// TestRunFailsWhenTheDiskStaysFull: what could not be stored waits in the stream.
func TestRunFailsWhenTheDiskStaysFull(t *testing.T) {
	b := newBench(t, "stream", "greencam1")
	a := startAgent(t, b.redis, "greencam1", "stream")
	b.mountSmall()
	a.produce()
	stop := b.backgroundUntil("images could not be stored", "run", "--no-requests")
	watermark := filepath.Join(b.images, ".state", "greencam1.watermark")
	b.await("the beginning", func() bool { _, err := os.Stat(watermark); return err == nil })
	_ = os.WriteFile(filepath.Join(b.images, "filler"), make([]byte, 1<<20), 0o600) // fails when the disk is full
	for range 7 {
		a.produce()
	}
	b.await("the log to say so", func() bool { return strings.Contains(b.stderr.String(), "no space left") })
	stop()
	got := b.summary()
	stored := atoi(t, got["stored"])
	if want := strconv.Itoa(7 - stored); got["left in stream"] != want || want == "0" {
		t.Errorf("left in stream: got %q, want %s of 7", got["left in stream"], want)
	}
}

// TestRequestBlamesWhoeverIsToBlame: a slow agent is not a broken link.
func TestRequestBlamesWhoeverIsToBlame(t *testing.T) {
	b := newBench(t, "stream", "greencam1", "redcam")
	a := startAgent(t, b.redis, "greencam1", "stream")
	a.silent = true
	for range 3 {
		err := b.client(t.Context(), "request", "--camera", "greencam1", "--timeout", "150ms")
		if err == nil || err.Error() != "no answer within 150ms: greencam1 did not answer in time" {
			t.Errorf("slow agent: got %v", err)
		}
	}
	err := b.client(t.Context(), "request", "--camera", "redcam", "--timeout", "150ms")
	if err == nil || !strings.Contains(err.Error(), "no cam-agent listens for redcam") || strings.Contains(err.Error(), "link") {
		t.Errorf("no agent: got %v", err)
	}
	cfg, _, _, err := console{configFile: &b.config}.requestConfig(requestFlags{camera: "redcam", timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	early := unreached(datatransfer.LinkStatus{State: datatransfer.Connecting, Cause: redisconn.CauseNone}, cfg.Redis, time.Millisecond, nil)
	if got := early.Error(); !strings.Contains(got, "no answer within 1ms: not connected to Redis") || !strings.Contains(got, "yet") {
		t.Errorf("no time to connect: got %q", got)
	}
}
