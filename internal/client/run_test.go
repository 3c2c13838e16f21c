package client

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"framekeeper/internal/receiver"
	"framekeeper/pkg/frame"
)

func wantSummary(t *testing.T, got map[string]string, want map[string]string) {
	t.Helper()
	for key, value := range want {
		if got[key] != value {
			t.Errorf("summary %s: got %q, want %q (all: %v)", key, got[key], value, got)
		}
	}
}

func TestRunStoresTheFrameOfEachRequest(t *testing.T) {
	for _, mode := range []string{"stream", "pubsub", "both"} {
		t.Run(mode, func(t *testing.T) {
			b := newBench(t, mode, "greencam1")
			a := startAgent(t, b.redis, "greencam1", mode)
			stop := b.background("run")
			b.await("50 stored images", func() bool { return len(b.files("greencam1")) >= 50 })
			stop()

			got := b.summary()
			n := len(b.files("greencam1"))
			wantSummary(t, got, map[string]string{
				"requests": strconv.Itoa(len(a.angles)), "answered": strconv.Itoa(len(a.angles)), "frames": strconv.Itoa(len(a.angles)),
				"stored": strconv.Itoa(n), "duplicates": "0", "errors": "0", "timeouts": "0", "wrong": "0",
				"malformed": "0", "not stored": "0", "undeclared": "0", "lost": "0",
			})
			if n != len(a.angles) {
				t.Errorf("files: got %d, want one for each of %d requests", n, len(a.angles))
			}
			var want []float64
			for i := range a.angles {
				want = append(want, float64(i%41*25)) // 0 to 1000, and again
			}
			slices.Sort(want) // two requests close together may overtake each other
			slices.Sort(a.angles)
			if !slices.Equal(a.angles, want) {
				t.Errorf("angles, sorted: got %v, want %v", a.angles, want)
			}
			if max, err := strconv.ParseFloat(strings.TrimSuffix(got["latency max"], "ms"), 64); err != nil || max <= 0 || max > 5000 {
				t.Errorf("latency max: got %q, want a time", got["latency max"])
			}
			for _, file := range b.files("greencam1") {
				_, id, _ := strings.Cut(strings.TrimSuffix(filepath.Base(file), ".jpg"), "_")
				parsed, err := frame.ParseID(id)
				if err != nil {
					t.Fatalf("%s: %v", file, err)
				}
				if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, imageOf(parsed)) {
					t.Errorf("%s: got %d bytes, %v, want the image of %s", file, len(got), err, id)
				}
			}
		})
	}
}

func TestRunGoesOnWhereItEnded(t *testing.T) {
	b := newBench(t, "stream", "greencam1")
	a := startAgent(t, b.redis, "greencam1", "stream")
	for range 3 { // before the first run ever: not its business
		a.produce()
	}
	stop := b.background("run")
	b.await("stored images", func() bool { return len(b.files("greencam1")) >= 5 })
	stop()
	before := b.files("greencam1")
	if len(before) != len(a.angles) {
		t.Errorf("first run: got %d images, want the %d requested", len(before), len(a.angles))
	}
	var missed []frame.ID
	for range 60 { // more than one XREAD's worth
		missed = append(missed, a.produce())
	}
	b.stdout = buffer{}
	stop = b.background("run", "--no-requests")
	b.await("the missed images", func() bool { return len(b.files("greencam1")) >= len(before)+len(missed) })
	stop()
	wantSummary(t, b.summary(), map[string]string{
		"requests": "0", "frames": "60", "stored": "60", "duplicates": "0", "undeclared": "0", "trimmed": "0", "lost": "0",
	})
	all := strings.Join(b.files("greencam1"), " ")
	for _, id := range missed {
		if !strings.Contains(all, "_"+id.String()+".jpg") {
			t.Errorf("image of %s is missing", id)
		}
	}
}

// TestRunAfterAKillStoresNothingTwice: the watermark on disk is behind what is stored.
func TestRunAfterAKillStoresNothingTwice(t *testing.T) {
	b := newBench(t, "stream", "greencam1")
	a := startAgent(t, b.redis, "greencam1", "stream")
	first := a.produce()
	stop := b.background("run", "--no-requests")
	watermark := filepath.Join(b.images, ".state", "greencam1.watermark")
	b.await("the first watermark", func() bool { _, err := os.Stat(watermark); return err == nil })
	for range 9 {
		a.produce()
	}
	b.await("stored images", func() bool { return len(b.files("greencam1")) == 9 })
	stop()
	if err := os.WriteFile(watermark, []byte(first.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	last := a.produce()
	b.stdout = buffer{}
	stop = b.background("run", "--no-requests")
	b.await("the new image", func() bool { return strings.Contains(strings.Join(b.files("greencam1"), " "), last.String()) })
	stop()
	wantSummary(t, b.summary(), map[string]string{"frames": "10", "stored": "1", "duplicates": "9", "lost": "0"})
}

func TestRunSeveralCameras(t *testing.T) {
	b := newBench(t, "both", "greencam1", "redcam", "unused")
	green, red := startAgent(t, b.redis, "greencam1", "both"), startAgent(t, b.redis, "redcam", "both")
	stop := b.background("run", "--camera", "greencam1", "--camera", "redcam", "--camera", "redcam")
	b.await("images of both", func() bool { return len(b.files("greencam1")) >= 10 && len(b.files("redcam")) >= 10 })
	stop()
	total := strconv.Itoa(len(green.angles) + len(red.angles))
	wantSummary(t, b.summary(), map[string]string{"": "total", "requests": total, "answered": total, "stored": total, "lost": "0"})
}

func TestRunCountsErrorsAndTimeouts(t *testing.T) {
	b := newBench(t, "stream", "greencam1")
	a := startAgent(t, b.redis, "greencam1", "stream")
	a.with(func() { a.refuse = "camera stalled" })
	stop := b.backgroundUntil("requests without an answer", "run")
	b.await("refused requests", func() (many bool) {
		a.with(func() { many = len(a.angles) >= 20 })
		return many
	})
	a.with(func() { a.refuse = "" })
	b.await("stored images", func() bool { return len(b.files("greencam1")) >= 3 })
	a.with(func() { a.silent = true })
	b.await("FPS dropped to 0", func() bool { return strings.Contains(b.stderr.String(), "FPS dropped to 0") })
	stop() // with requests in flight, which get receiver.AnswerWait and no more
	got := b.summary()
	lost, _ := strconv.Atoi(got["lost"])
	errs, _ := strconv.Atoi(got["errors"])
	skipped, _ := strconv.Atoi(got["skipped"])
	if errs < 20 || lost < receiver.MaxInFlight || lost != atoi(t, got["timeouts"]) || skipped < 1 {
		t.Errorf("summary: got %v, want at least 20 errors, %d timeouts, as many lost, some skipped", got, receiver.MaxInFlight)
	}
	for _, want := range []string{`"reason":"camera stalled"`, "Requests are answered again"} {
		if n := strings.Count(b.stderr.String(), want); n != 1 {
			t.Errorf("log: got %d times %q, want once:\n%s", n, want, &b.stderr)
		}
	}
}

func atoi(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestRunNoStoreTouchesNoDisk(t *testing.T) {
	for _, mode := range []string{"stream", "pubsub"} {
		b := newBench(t, mode, "greencam1")
		a := startAgent(t, b.redis, "greencam1", mode)
		b.mustClient("run", "--no-store", "--duration", "300ms")
		if _, err := os.Stat(b.images); err == nil {
			t.Errorf("%s: images_dir was made", mode)
		}
		n := strconv.Itoa(len(a.angles))
		wantSummary(t, b.summary(), map[string]string{"requests": n, "answered": n, "frames": n, "stored": "0", "lost": "0"})
		if len(a.angles) < 3 {
			t.Errorf("%s: got %d requests in 300 ms at 10 ms, want more", mode, len(a.angles))
		}
	}
}

// TestRunSurvivesRedis: everything in Redis is gone, and the client goes on.
func TestRunSurvivesRedis(t *testing.T) {
	b := newBench(t, "stream", "greencam1")
	startAgent(t, b.redis, "greencam1", "stream")
	stop := b.background("run")
	b.await("stored images", func() bool { return len(b.files("greencam1")) >= 5 })
	b.redis.Kill()
	b.await("the loss to be logged", func() bool { return strings.Contains(b.stderr.String(), "Redis connection lost") })
	before := len(b.files("greencam1"))
	b.redis.Restart()
	b.await("images again", func() bool { return len(b.files("greencam1")) >= before+5 })
	stop()
	wantSummary(t, b.summary(), map[string]string{"duplicates": "0", "undeclared": "0", "wrong": "0"})
}

// TestRunWaitsForTheDisk: while it is full the stream waits, and nothing is lost.
func TestRunWaitsForTheDisk(t *testing.T) {
	b := newBench(t, "stream", "greencam1")
	b.mountSmall()
	a := startAgent(t, b.redis, "greencam1", "stream")
	stop := b.background("run")
	b.await("stored images", func() bool { return len(b.files("greencam1")) >= 5 })
	allow := b.refuseImages("full")
	b.await("the log to say so", func() bool { return strings.Contains(b.stderr.String(), "no space left") })
	asked := func() (n int) { a.with(func() { n = len(a.angles) }); return n }
	before := asked()
	b.await("more requests", func() bool { return asked() >= before+10 })
	allow()
	b.await("images again", func() bool { return len(b.files("greencam1")) >= before+10 })
	stop()
	n := strconv.Itoa(asked())
	wantSummary(t, b.summary(), map[string]string{"answered": n, "stored": n, "frames": n, "duplicates": "0", "lost": "0"})
	if n := strings.Count(b.stderr.String(), "Images cannot be stored"); n != 1 {
		t.Errorf("log: got %d complaints, want 1:\n%s", n, &b.stderr)
	}
}

func TestRunRefusesWhatCannotWork(t *testing.T) {
	b := newBench(t, "stream", "greencam1", "redcam")
	for name, c := range map[string]struct {
		args []string
		want []string
	}{
		"unknown camera":    {[]string{"run", "--camera", "nocam"}, []string{"nocam", "greencam1", "redcam"}},
		"negative duration": {[]string{"run", "--duration", "-1s"}, []string{"--duration"}},
		"unknown flag":      {[]string{"run", "--fast"}, []string{"--fast", "see client run --help"}},
		"unknown command":   {[]string{"rum"}, []string{"rum", "client has control, events, request, run, status, view, watch"}},
		"an argument":       {[]string{"run", "greencam1"}, []string{`unexpected argument "greencam1"; see client run --help`}},
	} {
		err := b.client(t.Context(), c.args...)
		if err == nil {
			t.Errorf("%s: got no error", name)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %q, want it to name %s", name, err, want)
			}
		}
	}
	stop := b.background("run", "--no-requests")
	lock := filepath.Join(b.images, ".state", "lock")
	b.await("the first client", func() bool { _, err := os.Stat(lock); return err == nil })
	second := bench{t: t, config: b.config}
	if err := second.client(t.Context(), "run"); err == nil || !strings.Contains(err.Error(), "another client") {
		t.Errorf("second client: got %v, want it refused", err)
	}
	stop()
	if b.stdout.String() == "" || slices.Contains(strings.Fields(b.stdout.String()), "Usage:") {
		t.Errorf("stdout: got %q, want a summary and no usage", &b.stdout)
	}
}
