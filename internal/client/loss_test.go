package client

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"framekeeper/internal/status"
	"framekeeper/pkg/frame"
)

// What is never stored is lost, with its reason in the summary, in the line that
// explains the exit code, and in the code.
func TestRunCountsWhatItNeverStores(t *testing.T) {
	for _, mode := range []string{"stream", "pubsub", "both"} {
		for _, group := range []string{"", "pool"} {
			if mode == "pubsub" && group != "" {
				continue
			}
			t.Run(mode+group, func(t *testing.T) {
				b := newBench(t, mode, "greencam1")
				text, err := os.ReadFile(b.config)
				if err == nil {
					err = os.WriteFile(b.config, []byte(strings.Replace(string(text), "[client]\n", "[client]\nimages_max_bytes = \"1MiB\"\n", 1)), 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
				a := startAgent(t, b.redis, "greencam1", mode)
				args := []string{"run", "--no-requests", "--json"}
				if group != "" {
					args = append(args, "--group", group)
				}
				cmd := b.process(&b.stdout, &b.stderr, args...)
				b.await("the client to read", func() bool {
					a.produce()
					return len(b.files("greencam1")) > 0
				})
				a.produceOdd(nil, make([]byte, 1<<20+1))
				a.produceOdd(nil, make([]byte, 2<<20))
				a.produceOdd(func(h *frame.Header) { h.Encoding = "webp" }, []byte("image"))
				a.produceOdd(nil, nil) // an image of no bytes is none
				last := a.produce().String()
				b.await("the last image", func() bool { return strings.Contains(strings.Join(b.files("greencam1"), " "), last) })
				_ = cmd.Process.Signal(syscall.SIGTERM)
				err = cmd.Wait()

				var exit *exec.ExitError
				if !errors.As(err, &exit) || exit.ExitCode() != status.ExitError {
					t.Errorf("got %v, want exit code %d", err, status.ExitError)
				}
				var got struct{ Total map[string]any }
				if err := json.Unmarshal([]byte(b.stdout.String()), &got); err != nil {
					t.Fatalf("summary: %v\n%s", err, &b.stdout)
				}
				for key, want := range map[string]float64{"too_large": 2, "unstorable": 1, "corrupt": 1, "malformed": 0, "lost": 4} {
					if got.Total[key] != want {
						t.Errorf("summary %s: got %v, want %v", key, got.Total[key], want)
					}
				}
				const line = "camera greencam1: 4 lost (1 damaged, 2 larger than images_max_bytes, 1 no images of this camera)\n"
				if !strings.HasSuffix(b.stderr.String(), line) {
					t.Errorf("stderr: got\n%s\nwant the last line %s", &b.stderr, line)
				}
				if n := strings.Count(b.stderr.String(), "A frame cannot be stored and is lost"); n != 2 {
					t.Errorf("log: got %d lines, want one of each reason:\n%s", n, &b.stderr)
				}
				if found, _ := filepath.Glob(filepath.Join(b.images, "greencam1", "corrupt", "*")); len(found) != 1 {
					t.Errorf("corrupt/: got %v, want the damaged image", found)
				}
			})
		}
	}
}

// A frame of another camera in this one's stream never gets into its directory.
func TestRunStoresOneCameraOnly(t *testing.T) {
	b := newBench(t, "stream", "greencam1")
	a := startAgent(t, b.redis, "greencam1", "stream")
	stop := b.backgroundUntil("1 lost (1 no images of this camera)", "run", "--no-requests")
	b.await("the client to read", func() bool {
		a.produce()
		return len(b.files("greencam1")) > 0
	})
	a.produceOdd(func(h *frame.Header) { h.Camera = "redcam" }, []byte("image"))
	last := a.produce().String()
	b.await("the last image", func() bool { return strings.Contains(strings.Join(b.files("greencam1"), " "), last) })
	stop()
	if found := b.files("redcam"); len(found) != 0 {
		t.Errorf("stored for another camera: %v", found)
	}
	wantSummary(t, b.summary(), map[string]string{"unstorable": "1", "lost": "1"})
}
