package agent

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"framekeeper/internal/cli"
	"framekeeper/internal/status"
	"framekeeper/internal/testkit"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/redisconn"
	"framekeeper/pkg/rpc"
)

// asAgent is set for a child that is to be the whole program.
const asAgent = "FRAMEKEEPER_TEST_AS_AGENT"

func TestMain(m *testing.M) {
	if os.Getenv(asAgent) != "" {
		_ = os.Unsetenv(asAgent)
		os.Exit(cli.Main(Program()))
	}
	if dir := os.Getenv(moverSpool); dir != "" {
		fmt.Fprintln(os.Stderr, beginWithSpool(dir)) // it does not return, as a rule
		os.Exit(1)
	}
	redisconn.Quiet()
	if len(os.Args) > 2 && os.Args[1] == playAgent {
		os.Exit(play(os.Args[2], os.Args[3:]))
	}
	testkit.Main(m)
}

// writeConfig writes a config.toml for one camera; more is put before its table.
func writeConfig(t *testing.T, url, more, camera string) string {
	t.Helper()
	dir := t.TempDir()
	if !strings.Contains(more, "[delivery]") {
		more += "\n[delivery]\n"
	}
	more = strings.Replace(more, "[delivery]\n", fmt.Sprintf("[delivery]\nspool_dir = %q\n", filepath.Join(dir, "spool")), 1)
	text := fmt.Sprintf("state_dir = %q\n[redis]\nurl = %q\n%s\n[[camera]]\nname = \"greencam1\"\n%s\n",
		filepath.Join(dir, "state"), url, more, camera)
	path := filepath.Join(dir, "config.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// startAgent runs the whole program in this process until the test ends, or
// until the function it returns is called; that returns run's error.
func startAgent(t *testing.T, config string) (stop func() error, log *testkit.Log) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	log = &testkit.Log{}
	done := make(chan error, 1)
	go func() {
		done <- Program().Run(ctx, []string{"--config", config, "--camera", "greencam1"}, io.Discard, log)
	}()
	var once sync.Once
	var err error
	stop = func() error {
		once.Do(func() { cancel(); err = <-done })
		return err
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("agent ended with %v", err)
		}
		if t.Failed() {
			t.Logf("agent's log:\n%s", log)
		}
	})
	return stop, log
}

// asker is a host's side: a link that hears the camera's channel.
type asker struct {
	*rpc.Client
	link *datatransfer.Link
	end  func() // of its link

	mu   sync.Mutex // guards seen
	seen []*frame.Message
}

func newAsker(t *testing.T, url string) *asker {
	t.Helper()
	a := &asker{Client: rpc.NewClient(rpc.ClientConfig{
		Camera: "greencam1", RequestTopic: "request/greencam1", Timeout: testkit.Patience,
	})}
	cfg := redisconn.Default()
	cfg.URL = url
	a.link = datatransfer.NewLink(datatransfer.LinkConfig{
		Redis: cfg, Name: "asker", Log: zerolog.Nop(), Workers: []datatransfer.Worker{a.Worker()},
		Subscriptions: []datatransfer.Subscription{{Channel: "stream/greencam1", Handle: func(p []byte, _ time.Time) {
			m, err := frame.ParseMessage(p)
			if err != nil {
				t.Errorf("message on stream/greencam1: %v", err)
				return
			}
			a.mu.Lock()
			a.seen = append(a.seen, m)
			a.mu.Unlock()
			a.Deliver(m)
		}}},
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.link.Run(ctx) }()
	a.end = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(a.end)
	wait, cancelWait := context.WithTimeout(ctx, testkit.Patience)
	defer cancelWait()
	if err := a.link.WaitLive(wait); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *asker) messages() []*frame.Message {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]*frame.Message(nil), a.seen...)
}

// ask makes one request that must be answered with a frame.
func (a *asker) ask(t *testing.T, fields map[string]any) *frame.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
	defer cancel()
	m, err := a.Request(ctx, fields)
	if err != nil {
		t.Fatalf("request %v: %v", fields, err)
	}
	return m
}

// entries are the stream's frames.
func entries(t *testing.T, c *redis.Client) []*frame.Message {
	t.Helper()
	return slices.DeleteFunc(all(t, c), func(m *frame.Message) bool { return m.Header.Status != frame.StatusOK })
}

// all are all the stream's entries.
func all(t *testing.T, c *redis.Client) []*frame.Message {
	t.Helper()
	entries, err := c.XRange(context.Background(), "frames:greencam1", "-", "+").Result()
	if err != nil {
		t.Fatal(err)
	}
	var out []*frame.Message
	for _, e := range entries {
		m, err := frame.ParseEntry(e.Values)
		if err != nil {
			t.Fatalf("entry %s: %v", e.ID, err)
		}
		out = append(out, m)
	}
	return out
}

// tiny is the smallest picture that still bears its number.
const tiny = "source = \"test:\"\nwidth = 64\nheight = 48\n"

// small is a camera that costs little.
const small = "source = \"test:\"\nwidth = 320\nheight = 240\n"

func TestUsageErrors(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
		code int
	}{
		{[]string{"--nonsense"}, "nonsense", status.ExitUsage},
		{[]string{"extra"}, "extra", status.ExitUsage},
		{[]string{"--config", "/no/such/file.toml"}, "/no/such/file.toml", status.ExitUsage},
	} {
		err := Program().Run(context.Background(), c.args, io.Discard, io.Discard)
		if err == nil || !strings.Contains(err.Error(), c.want) || exitCode(err) != c.code {
			t.Errorf("run(%q) = %v (exit %d), want %q and exit %d", c.args, err, exitCode(err), c.want, c.code)
		}
	}
}
