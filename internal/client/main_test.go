package client

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"framekeeper/internal/cli"
	"framekeeper/internal/testkit/redistest"
)

// asClient makes the test binary behave as the client, so that signals and
// exit codes can be tested on a real process.
const asClient = "CLIENT_TEST_RUN_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asClient) != "" {
		os.Exit(cli.Main(Program()))
		return
	}
	goleak.VerifyTestMain(m)
}

// bench is a Redis, a configuration and what the client says.
type bench struct {
	t      *testing.T
	redis  *redistest.Server
	config string
	images string
	stdout buffer
	stderr buffer
}

// buffer is a bytes.Buffer for a writer and a reader at the same time.
type buffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// newBench writes a configuration for cameras on a fresh Redis.
func newBench(t *testing.T, mode string, cameras ...string) *bench {
	t.Helper()
	b := &bench{t: t, redis: redistest.Start(t)}
	b.configure(b.redis.URL(), mode, cameras...)
	return b
}

func (b *bench) configure(url, mode string, cameras ...string) {
	b.t.Helper()
	dir := b.t.TempDir()
	b.images = filepath.Join(dir, "images")
	var text strings.Builder
	fmt.Fprintf(&text, "state_dir = %q\n[redis]\nurl = %q\n[delivery]\nmode = %q\nspool_dir = %q\n[log]\nformat = \"json\"\n",
		dir, url, mode, filepath.Join(dir, "spool"))
	fmt.Fprintf(&text, "[client]\nimages_dir = %q\nrequest_interval = \"10ms\"\n", b.images)
	for _, c := range cameras {
		fmt.Fprintf(&text, "[[camera]]\nname = %q\nsource = \"test:\"\n", c)
	}
	b.config = filepath.Join(dir, "config.toml")
	if err := os.WriteFile(b.config, []byte(text.String()), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// client runs the client in this process until it ends.
func (b *bench) client(ctx context.Context, args ...string) error {
	return Program().Run(ctx, append(args, "--config", b.config), &b.stdout, &b.stderr)
}

// mustClient fails the test when the client fails.
func (b *bench) mustClient(args ...string) {
	b.t.Helper()
	if err := b.client(b.t.Context(), args...); err != nil {
		b.t.Fatalf("client %q: %v\n%s", args, err, &b.stderr)
	}
}

// background runs the client until the returned function is called.
func (b *bench) background(args ...string) (stop func()) {
	b.t.Helper()
	return b.backgroundUntil("", args...)
}

// backgroundUntil is background for a client that is to end with an error that
// has this text; "" is none.
func (b *bench) backgroundUntil(want string, args ...string) (stop func()) {
	b.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.client(ctx, args...) }()
	var once sync.Once
	stop = func() {
		b.t.Helper()
		once.Do(func() {
			b.t.Helper()
			cancel()
			err := <-done
			if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
				b.t.Errorf("client %q: got %v, want %q\n%s", args, err, want, &b.stderr)
			}
		})
	}
	b.t.Cleanup(stop)
	return stop
}

// files are the stored images of a camera.
func (b *bench) files(camera string) []string {
	found, err := filepath.Glob(filepath.Join(b.images, camera, "[0-9]*"))
	if err != nil {
		b.t.Fatal(err)
	}
	return found
}

const labelWidth = len("unknown (open gaps)") // the longest label

// summary reads the last column of the summary.
func (b *bench) summary() map[string]string {
	b.t.Helper()
	_, text, ok := strings.Cut(b.stdout.String(), "Summary of ")
	if !ok {
		b.t.Fatalf("no summary on stdout:\n%s", &b.stdout)
	}
	row := map[string]string{}
	for _, line := range strings.Split(text, "\n") {
		if len(line) > labelWidth {
			fields := strings.Fields(strings.ReplaceAll(line[labelWidth:], " ms", "ms"))
			row[strings.TrimSpace(line[:labelWidth])] = fields[len(fields)-1]
		}
	}
	return row
}

// await waits for a condition, and shows what the client said when it never holds.
func (b *bench) await(what string, cond func() bool) {
	b.t.Helper()
	deadline := time.After(20 * time.Second)
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for !cond() {
		select {
		case <-look.C:
		case <-deadline:
			b.t.Fatalf("waited 20 s for %s\nstdout:\n%s\nstderr:\n%s", what, &b.stdout, &b.stderr)
		}
	}
}
