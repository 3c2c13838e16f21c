package docs

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/hostile"
	"framekeeper/internal/testkit/proctest"
	"framekeeper/internal/testkit/redistest"
)

func TestMain(m *testing.M) { testkit.Main(m) }

const (
	python        = "/usr/bin/python3" // Debian's, which has python3-redis
	goodImage     = "a good image"
	streamChannel = "stream/greencam1"

	patience = 2 * time.Minute // a shell starts six programs for each of a hundred entries
)

// onPort has Python's client find the test's Redis.
const onPort = `
import redis
class Here(redis.Redis):
    def __init__(self, *args, **options):
        super().__init__(*args, port=%d, **options)
redis.Redis = Here
`

// reader is one that the documents print, or a file of examples.
type reader struct {
	name    string
	command []string
	asks    bool // for one frame, and ends with it
}

// readers are all of them: each block of Python that reads from Redis, and the examples.
func readers(t *testing.T, port int) []reader {
	t.Helper()
	var all []reader
	for _, p := range pages(t) {
		for i, b := range p.blocks {
			if b.language == "python" && strings.Contains(b.text, "redis") {
				all = append(all, reader{
					name:    fmt.Sprintf("%s, block %d", p.name, i+1),
					command: []string{python, "-c", fmt.Sprintf(onPort, port) + b.text}, asks: strings.Contains(b.text, ".publish("),
				})
			}
		}
	}
	all = append(all,
		reader{name: "reader.sh", command: []string{example(t, "reader.sh"), "greencam1", "-p", fmt.Sprint(port)}},
		reader{name: "reader.mjs", command: []string{"node", example(t, "reader.mjs"), "greencam1", "127.0.0.1", fmt.Sprint(port)}})
	if len(all) != 6 {
		t.Fatalf("found %d readers, want README's, three of host.md, and two examples", len(all))
	}
	return all
}

// Whoever may publish on Redis, or add to a stream, sends a simple reader anything: it
// passes over it and takes the next frame.
func TestSimpleReadersSurviveAnything(t *testing.T) {
	testkit.NeedRedis(t)
	need(t, "python3-redis", python, "-c", "import redis")
	need(t, "nodejs", "node", "--version")
	need(t, "jq", "jq", "--version")
	server := redistest.Start(t, redistest.WithConfig("client-output-buffer-limit", "pubsub 0 0 0")) // a slow reader is another matter
	answerRequests(t, server.Client())
	addEntries(t, server.Client())
	for _, r := range readers(t, server.Port()) {
		t.Run(r.name, func(t *testing.T) { survives(t, server.Client(), r) })
	}
}

// The shell's reader shows why nothing comes.
func TestShellReaderShowsErrors(t *testing.T) {
	testkit.NeedRedis(t)
	out := &proctest.Output{}
	shellReader(t, redistest.Start(t, redistest.WithPassword("secret"))).start(t, t.TempDir(), out)
	testkit.Eventually(t, "an error", func() bool { return strings.Contains(out.String(), "NOAUTH") })
}

// Ctrl-C, which all programs of a terminal get, ends it while it waits for a frame.
func TestShellReaderEnds(t *testing.T) {
	testkit.NeedRedis(t)
	server := redistest.Start(t)
	pid, ended := shellReader(t, server).start(t, t.TempDir(), &proctest.Output{})
	testkit.Eventually(t, "a reader waits", func() bool {
		return strings.Contains(server.Client().Info(t.Context(), "clients").Val(), "blocked_clients:1")
	})
	if err := syscall.Kill(-pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended:
	case <-time.After(testkit.Patience):
		t.Error("it goes on")
	}
}

func shellReader(t *testing.T, server *redistest.Server) reader {
	return reader{name: "reader.sh", command: []string{example(t, "reader.sh"), "greencam1", "-p", fmt.Sprint(server.Port())}}
}

func example(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(root, "examples", name))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// survives runs a reader until it has taken the frame that follows all that is hostile.
func survives(t *testing.T, c *redis.Client, r reader) {
	testkit.Eventually(t, "the reader before is gone", func() bool { return subscribers(t, c) == 0 })
	dir, out := t.TempDir(), &proctest.Output{}
	_, ended := r.start(t, dir, out)
	published := r.asks // answerRequests does it
	for deadline := time.After(patience); !stored(t, dir); {
		select {
		case err := <-ended:
			if err != nil || !r.asks || !strings.Contains(out.String(), fmt.Sprintf(" %d bytes", len(goodImage))) {
				t.Errorf("it ended with %v", err)
			}
			return
		case <-deadline:
			t.Fatalf("it has not taken the frame after what is hostile within %s", patience)
		case <-time.After(2 * time.Millisecond):
		}
		if !published && subscribers(t, c) > 0 { // who reads the stream is none
			published = true
			publishAll(t, c, "none")
		}
	}
}

// start runs the reader in a process group, until the test ends or it does, which is
// reported.
func (r reader) start(t *testing.T, dir string, out *proctest.Output) (group int, ended <-chan error) {
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, r.command[0], r.command[1:]...) //nolint:gosec // the documents' own
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // with what a shell has started
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	result, over := make(chan error, 1), make(chan struct{})
	go func() {
		result <- cmd.Wait()
		close(over)
	}()
	t.Cleanup(func() {
		cancel()
		<-over
		if t.Failed() {
			t.Logf("output:\n%s", tail(out.String()))
		}
	})
	return cmd.Process.Pid, result
}

func tail(s string) string { return s[max(0, len(s)-2000):] }

// need skips the test where a program is missing; in CI it fails.
func need(t *testing.T, pkg, program string, args ...string) {
	t.Helper()
	if out, err := exec.Command(program, args...).CombinedOutput(); err != nil { //nolint:gosec // this test names it
		if os.Getenv("CI") != "" {
			t.Fatalf("%s is needed: %v %s", pkg, err, out)
		}
		t.Skipf("%s is not installed: %v %s", pkg, err, out)
	}
}

// stored reports whether a reader has stored the good image.
func stored(t *testing.T, dir string) bool {
	files, err := filepath.Glob(filepath.Join(dir, "*.jpg"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if b, err := os.ReadFile(file); err == nil && string(b) == goodImage {
			return true
		}
	}
	return false
}

// goodFrame is the header of a frame with goodImage, as it is published.
func goodFrame(request string) string {
	return fmt.Sprintf(`{"camera":"greencam1","id":"18446744073709551615-8","status":"ok","encoding":"jpeg","bytes":%d,"request":{"id":%q}}`, len(goodImage), request)
}

// publishAll publishes every hostile message, and then the answer to a request.
func publishAll(t *testing.T, c *redis.Client, request string) {
	all := []string{fmt.Sprintf(`{"request":{"id":%q}}`, request)}
	for _, m := range hostile.Messages() {
		all = append(all, m.Wire())
	}
	for _, m := range append(all, goodFrame(request)+"\n"+goodImage) {
		if err := c.Publish(t.Context(), streamChannel, m).Err(); err != nil && t.Context().Err() == nil {
			t.Errorf("publish %.40q: %v", m, err)
		}
	}
}

// addEntries adds every hostile entry to the stream, and then a frame.
func addEntries(t *testing.T, c *redis.Client) {
	t.Helper()
	good := hostile.Entry{ID: "18446744073709551615-8", Fields: []any{"header", goodFrame("none"), "image", goodImage}}
	for _, e := range append(hostile.Entries(), good) {
		if err := c.XAdd(t.Context(), &redis.XAddArgs{Stream: "frames:greencam1", ID: e.ID, Values: e.Fields}).Err(); err != nil {
			t.Fatalf("add %s: %v", e.ID, err)
		}
	}
}

// answerRequests is an agent that answers with everything hostile first.
func answerRequests(t *testing.T, c *redis.Client) {
	t.Helper()
	ps := c.Subscribe(t.Context(), "request/greencam1")
	if _, err := ps.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() {
		for m, err := ps.ReceiveMessage(t.Context()); err == nil; m, err = ps.ReceiveMessage(t.Context()) {
			var request struct {
				ID string `json:"id"`
			}
			if err := json.Unmarshal([]byte(m.Payload), &request); err != nil {
				t.Errorf("request %q: %v", m.Payload, err)
			}
			publishAll(t, c, request.ID)
		}
	})
	t.Cleanup(func() { _ = ps.Close(); served.Wait() })
}

// subscribers is how many are subscribed to the answers.
func subscribers(t *testing.T, c *redis.Client) int64 {
	return c.PubSubNumSub(t.Context(), streamChannel).Val()[streamChannel]
}
