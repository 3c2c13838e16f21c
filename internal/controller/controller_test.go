package controller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"framekeeper/internal/cli"
	"framekeeper/internal/telemetry"
	"framekeeper/internal/testkit/redistest"
)

func TestRunsTheBox(t *testing.T) {
	server := redistest.Start(t)
	sub := server.Client().Subscribe(t.Context(), "box1_log")
	defer sub.Close()
	if _, err := sub.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := newSetup(t, server.URL(), "")
	stderr, end := s.begin(t)

	var text string
	eventually(t, "a healthy controller", func() (ok bool) {
		say(t, server, "LIVE", "ok", true)
		var err error
		text, err = s.ask("--status")
		return err == nil
	})
	for _, want := range []string{"box box1", "LIVE", "cam1: running", "0 restarts", "healthy: link LIVE, capture ok, writable"} {
		if !strings.Contains(text, want) {
			t.Errorf("status: got %q, want %q in it", text, want)
		}
	}
	eventually(t, "the agent's own line", func() bool {
		return strings.Contains(stderr.String(), "agent --config "+s.config+" --camera cam1\n")
	})
	var first telemetry.Sample // the sampler may look before the agent is started
	eventually(t, "telemetry of a running agent", func() bool {
		first = telemetryOf(t, sub)
		return first.Agents["cam1"].State == "running"
	})
	if a := first.Agents["cam1"]; first.Box != "box1" || a.State != "running" || a.PID == 0 || a.RSS == nil {
		t.Fatalf("got telemetry %+v, want box1 with cam1 running", first)
	}

	pid := first.Agents["cam1"].PID
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a restart in the telemetry", func() bool {
		a := telemetryOf(t, sub).Agents["cam1"]
		return a.State == "running" && a.PID != pid && a.Restarts == 1
	})

	began := time.Now()
	if err := end(); err != nil {
		t.Errorf("run returned %v, want nil", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the end took %v, want at most 5s", took)
	}
	if !strings.Contains(stderr.String(), "agent stopped\n") {
		t.Error("the agent was not stopped in order")
	}
	if _, err := s.ask("--status"); err == nil || !strings.Contains(err.Error(), "no controller answers") {
		t.Errorf("status after the end: got %v, want that none answers", err)
	}
}

func telemetryOf(t *testing.T, sub *redis.PubSub) telemetry.Sample {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	m, err := sub.ReceiveMessage(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var s telemetry.Sample
	if err := json.Unmarshal([]byte(m.Payload), &s); err != nil {
		t.Fatalf("%v in %s", err, m.Payload)
	}
	return s
}

func TestGoesOnWithoutRedis(t *testing.T) {
	s := newSetup(t, "redis://"+redistest.FreeAddr(t)+"/0", "")
	_, end := s.begin(t)
	eventually(t, "a controller that reports the missing Redis", func() bool {
		text, err := s.ask("--status")
		return errors.Is(err, errUnhealthy) && strings.Contains(text, "refused") && strings.Contains(text, "cam1: running") &&
			strings.Contains(text, "unknown: the link from here")
	})
	if err := end(); err != nil {
		t.Errorf("run returned %v, want nil", err)
	}
}

// A process that runs is not yet a camera that works.
func TestRunningButNotHealthy(t *testing.T) {
	server := redistest.Start(t)
	s := newSetup(t, server.URL(), "")
	s.begin(t)
	wantTrouble := func(want string, prepare func()) {
		t.Helper()
		eventually(t, "a status that says "+want, func() bool {
			prepare()
			text, err := s.ask("--status")
			return errors.Is(err, errUnhealthy) && strings.Contains(text, "cam1: running") && strings.Contains(text, want)
		})
	}
	wantTrouble("unknown: no status in Redis", func() {})
	wantTrouble("failed: its link to Redis is SUBSCRIBED", func() { say(t, server, "SUBSCRIBED", "ok", true) })
	wantTrouble("failed: capture is stalled: no frames", func() { say(t, server, "LIVE", "stalled", true) })
	wantTrouble("failed: Redis does not accept its frames: full", func() { say(t, server, "LIVE", "ok", false) })
	wantTrouble("its status cannot be read", func() { server.Client().Set(t.Context(), "status:cam1", "nonsense", 0) })
	eventually(t, "a healthy camera", func() bool {
		say(t, server, "LIVE", "ok", true)
		_, err := s.ask("--status")
		return err == nil
	})
	wantTrouble("no status in Redis", func() { server.Client().Del(t.Context(), "status:cam1") })
}

// say puts the status of an agent into Redis, as a new one.
func say(t *testing.T, server *redistest.Server, link, capture string, writable bool) {
	t.Helper()
	text := fmt.Sprintf(`{"time_us":%d,"link":{"state":%q},"capture":{"state":%q,"reason":"no frames"},"writable":%v,"reason":"full"}`,
		time.Now().UnixMicro(), link, capture, writable)
	if err := server.Client().Set(t.Context(), "status:cam1", text, time.Minute).Err(); err != nil {
		t.Fatal(err)
	}
}

func TestGoesOnWithoutState(t *testing.T) {
	s := newSetup(t, "redis://"+redistest.FreeAddr(t)+"/0", "")
	file := filepath.Join(s.dir, "file") // no directory can be made below a file, not even by root
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.write(t, "redis://127.0.0.1:1/0", filepath.Join(file, "state"), "")
	stderr, end := s.begin(t)
	eventually(t, "a running agent", func() bool { text, _ := s.ask("--status"); return strings.Contains(text, "cam1: running") })
	if !strings.Contains(stderr.String(), "has no lock") {
		t.Errorf("got no warning in:\n%s", stderr)
	}
	if err := end(); err != nil {
		t.Errorf("run returned %v, want nil", err)
	}
}

func TestSecondControllerIsRefused(t *testing.T) {
	s := newSetup(t, "redis://"+redistest.FreeAddr(t)+"/0", "")
	_, end := s.begin(t)
	eventually(t, "the lock", func() bool {
		b, _ := os.ReadFile(filepath.Join(s.state, lockName))
		return string(b) == strconv.Itoa(os.Getpid())+"\n"
	})
	_, err := s.ask()
	wantOneLine(t, err, "another controller", "pid "+strconv.Itoa(os.Getpid()), s.state, "stop.sh")
	if err := end(); err != nil {
		t.Errorf("the first was harmed: %v", err)
	}
	lock, err := lockState(t.Context(), s.state)
	if err != nil {
		t.Fatalf("after the end the lock is not free: %v", err)
	}
	_ = lock.Close()
}

func TestPortTaken(t *testing.T) {
	s := newSetup(t, "redis://"+redistest.FreeAddr(t)+"/0", "")
	other, err := net.Listen("tcp", s.http)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	_, err = s.ask()
	wantOneLine(t, err, s.http, "another program", "[controller] http", s.config)
	if _, err := os.Stat(s.started); err == nil {
		t.Error("an agent was started although the controller could not")
	}
	go func() { // what answers there speaks no HTTP of ours
		if c, err := other.Accept(); err == nil {
			_, _ = c.Read(make([]byte, 4096))
			_, _ = c.Write([]byte("HTTP/1.0 200 OK\r\n\r\nhello"))
			_ = c.Close()
		}
	}()
	_, err = s.ask("--status")
	wantOneLine(t, err, s.http, "not this configuration's controller")
}

func TestStartErrors(t *testing.T) {
	var usage *cli.UsageError
	s := newSetup(t, "redis://203.0.113.7:6379/0", "embedded = true\npassword_file = \"secret\"") // an address for documents
	_, err := s.ask()
	wantOneLine(t, err, "203.0.113.7:6379", "not an address of this box", "set embedded = false", s.config)
	if !errors.As(err, &usage) {
		t.Errorf("embedded: got %T, want a usage error", err)
	}

	path := os.Getenv("PATH")
	t.Setenv("PATH", s.dir)
	s.write(t, "redis://127.0.0.1:1/0", s.state, "embedded = true")
	_, err = s.ask()
	wantOneLine(t, err, "redis-server, which is not installed", "apt-get install redis-server")
	if !errors.As(err, &usage) {
		t.Errorf("no redis-server: got %T, want a usage error", err)
	}
	t.Setenv("PATH", path)

	s.write(t, "redis://127.0.0.1:1/0", s.state, "")
	t.Setenv("PATH", "/nowhere")
	_, err = s.ask()
	wantOneLine(t, err, "cam-agent", "scripts/build.sh")

	if err := os.WriteFile(s.config, []byte("[controller]\nboxx = 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err = s.ask(); !errors.As(err, &usage) || !strings.Contains(err.Error(), "boxx") {
		t.Errorf("unknown key: got %v, want a usage error that names it", err)
	}
	for _, args := range [][]string{{"--nonsense"}, {"argument"}} {
		_, err = s.ask(args...)
		wantOneLine(t, err, "see controller --help")
		if !errors.As(err, &usage) {
			t.Errorf("%v: got %T, want a usage error", args, err)
		}
	}
}

func TestHelpVersionAndSettings(t *testing.T) {
	s := newSetup(t, "redis://127.0.0.1:6399/3", "")
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--help"}, "Usage:\n  controller"},
		{[]string{"--version"}, "controller "},
		{[]string{"--get", "state_dir"}, s.state + "\n"},
		{[]string{"--get", "redis.url"}, "redis://127.0.0.1:6399/3\n"},
		{[]string{"--get", "controller.http"}, s.http + "\n"},
		{[]string{"--get", "redis.password_file"}, "\n"},
	} {
		if got, err := s.ask(c.args...); err != nil || !strings.Contains(got, c.want) {
			t.Errorf("%v: got %q, %v, want %q", c.args, got, err, c.want)
		}
	}
	_, err := s.ask("--get", "redis.nothing")
	wantOneLine(t, err, "redis.nothing", "state_dir")
}

func TestReachable(t *testing.T) {
	for addr, want := range map[string]string{
		"127.0.0.1:80": "127.0.0.1:80", ":80": "127.0.0.1:80", "0.0.0.0:80": "127.0.0.1:80", "[::]:80": "127.0.0.1:80", "box:80": "box:80", "[::1]:80": "[::1]:80",
	} {
		if got := reachable(addr); got != want {
			t.Errorf("%s: got %s, want %s", addr, got, want)
		}
	}
}

// Whoever has broken the file sees how the box is all the same.
func TestStatusWithABrokenFile(t *testing.T) {
	s := newSetup(t, "redis://127.0.0.1:1", "")
	s.begin(t)
	eventually(t, "a controller", func() bool { text, _ := s.ask("--status"); return strings.Contains(text, "box box1") })
	text, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.config, append([]byte("nonsense = 1\n"), text...), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := s.ask("--status")
	if !strings.Contains(out, "nonsense") || !strings.Contains(out, "controller  up, box box1") || !errors.Is(err, errUnhealthy) {
		t.Errorf("got %v and\n%s", err, out)
	}
}
