package client

import (
	"context"
	"encoding/json"
	"errors"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/agentapi"
	"framekeeper/internal/cli"
	"framekeeper/internal/control"
	"framekeeper/internal/events"
	"framekeeper/internal/files"
	"framekeeper/internal/status"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/redisconn"
)

// startController answers commands to a box as a controller does, and notes
// them. It knows the camera greencam1.
func startController(t *testing.T, b *bench, box string) (commands func() []control.Command) {
	t.Helper()
	var mu sync.Mutex
	var all []control.Command
	nop := zerolog.Nop()
	server := control.NewServer(func(_ context.Context, c control.Command) (any, error) {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, c)
		fps, quality := 10.0, 80
		agent := status.Process{Name: "greencam1", State: status.ProcessRunning, PID: 4711, Says: "camera ok\x1b[2J"}
		switch {
		case c.Name == control.Status:
			return status.Box{Box: box, Version: "v1", OK: true, UptimeS: 61, Config: "config.toml", LinkS: 60, Cameras: []status.Camera{
				{Process: agent, ForS: 59, Reported: status.Reported{Health: status.Degraded, Link: "LIVE", Capture: "ok", Note: "cannot be asked for metrics\x1b"}},
				{Process: status.Process{Name: "redcam", State: status.ProcessFailed, LastExit: "exit code 2"}, Reported: status.Reported{Health: status.Failed, Trouble: "its process is failed"}},
			}, Findings: status.Findings{
				Reload:     &status.Reload{Refused: true, AgoS: 12, Problem: "config.toml:3: a = \x1b: no", Problems: 2},
				Unwritable: []files.Unwritable{{Settings: []string{"spool_dir"}, Dir: "/spool", Reason: "read-only file system", Code: files.ReadOnly}},
			}}, nil
		case c.Name == control.Events:
			return []events.Event{
				{ID: 2, TimeUS: 1796057800412727, FirstUS: 1796057800412727, Count: 3, Kind: events.Outage, Health: status.Healthy, Text: "Redis was away\x1b[2J"},
				{ID: 1, TimeUS: 1796057790370161, Kind: events.Outage, Health: status.Failed, Text: "Redis is away"},
			}[:min(c.Limit, 2)], nil
		case c.Name == control.Reload:
			r := control.ReloadResult{Sections: []string{"camera"}}
			r.Cameras.Restarted, r.Cameras.Kept = []string{"redcam"}, []string{"greencam1"}
			return r, errors.New("camera redcam: the new cam-agent has ended: exit code 2")
		case c.Name == control.Set:
			return agentapi.Settings{PublishFPS: &fps, Quality: &quality, Controls: map[string]int64{"gain": 3}}, nil
		case c.Camera != "greencam1":
			return nil, errors.New(`no camera "` + c.Camera + `"; there is greencam1`)
		}
		return agent, nil
	}, func() *zerolog.Logger { return &nop })
	cfg := redisconn.Default()
	cfg.URL = b.redis.URL()
	names := control.NewRivals(box, control.NewIdentity(), func() *zerolog.Logger { return &nop })
	link := datatransfer.NewLink(datatransfer.LinkConfig{
		Redis: cfg, Name: box, Log: nop, Subscriptions: []datatransfer.Subscription{server.Subscription(names)},
		Workers: []datatransfer.Worker{server.Worker(), names.Worker()},
	})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = server.Run(ctx) })
	running.Go(func() { _ = link.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	if err := link.WaitLive(t.Context()); err != nil {
		t.Fatal(err)
	}
	return func() []control.Command {
		mu.Lock()
		defer mu.Unlock()
		return append([]control.Command(nil), all...)
	}
}

func TestControl(t *testing.T) {
	b := newBench(t, "stream", "greencam1")
	commands := startController(t, b, "box7")
	for _, c := range []struct {
		args   []string
		stdout []string
		failed string // "": exit code 0
	}{
		{[]string{"status"}, []string{
			"box box7, version v1, up 1m1s, link LIVE for 1m0s\nconfiguration config.toml, loaded 0s ago\n", "\n\nCAMERA     HEALTH    STATE    FOR  PID   RESTARTS  LINK  CAPTURE  TROUBLE\n",
			"greencam1  degraded  running  59s  4711  0         LIVE  ok       -\n", "redcam     failed    failed   0s   0     0         -     -        its process is failed\n",
			"\ndegraded: Configuration is refused; the old one stays in force: config.toml:3: a = \ufffd: no; and 1 more\nto do: correct it and reload", "\ntried 12 s ago\n",
			"\ndegraded: spool_dir cannot be written: /spool: read-only file system: nothing can be stored there for an outage or a restart\nto do: mount it for writing",
			"\ngreencam1: cannot be asked for metrics\ufffd\n",
		}, ""},
		{[]string{"restart", "greencam1"}, []string{"greencam1: running, pid 4711, camera ok\ufffd[2J\n"}, ""},
		{[]string{"stop", "nocam"}, nil, `box box7: no camera "nocam"; there is greencam1`},
		{[]string{"reload"}, []string{"changed: camera\nrestarted: redcam\nunchanged: greencam1\n"}, "box box7: camera redcam: the new cam-agent has ended: exit code 2"},
		{[]string{"set", "greencam1", "--publish-fps", "10", "--quality", "80", "--control", "gain=3"}, []string{"publish_fps = 10, quality = 80, gain = 3\n"}, ""},
	} {
		b.stdout = buffer{}
		err := b.client(t.Context(), append([]string{"control", "--box", "box7"}, c.args...)...)
		if c.failed == "" && err != nil || c.failed != "" && (err == nil || cli.OneLine(err) != c.failed) {
			t.Errorf("%v: got %v, want %q", c.args, err, c.failed)
		}
		for _, want := range c.stdout {
			if !strings.Contains(b.stdout.String(), want) {
				t.Errorf("%v: got\n%s\nwant %q in it", c.args, &b.stdout, want)
			}
		}
	}
	all := commands()
	if set := all[len(all)-1]; set.Name != control.Set || set.Camera != "greencam1" || *set.Settings.PublishFPS != 10 || *set.Settings.Quality != 80 ||
		set.Settings.Controls["gain"] != 3 || set.Timeout != 18*time.Second || set.ID == "" {
		t.Errorf("set was sent as %+v", set)
	}

	b.stdout = buffer{}
	if err := b.client(t.Context(), "control", "--box", "box7", "--json", "stop", "nocam"); err == nil {
		t.Error("--json: got no error")
	}
	var r control.Reply
	if err := json.Unmarshal([]byte(b.stdout.String()), &r); err != nil || r.Status != control.Error || r.Command != control.Stop || strings.Count(b.stdout.String(), "\n") != 1 {
		t.Errorf("--json: got %q, %v", &b.stdout, err)
	}
	var exit *exec.ExitError
	if err := b.process(&b.stdout, &b.stderr, "control", "--box", "box7", "stop", "nocam").Wait(); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("exit code: got %v, want 1", err)
	}
}

func TestControlWithoutAnswer(t *testing.T) {
	b := newBench(t, "stream", "greencam1")
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--box", "box8", "--timeout", "1s", "status"}, "no answer: no controller listens on control/box8: is that the box's name, and does its controller run? (waited 1s)"},
		{[]string{"--box", "Box 8", "status"}, `--box "Box 8": expected 1 to 64 of a-z`},
		{[]string{"--timeout", "0s", "status"}, "--timeout 0s: expected 1ms to 10m0s"},
		{[]string{"set", "greencam1"}, "nothing to set, expected --publish-fps, --quality or --control"},
		{[]string{"set", "greencam1", "--control", "gain"}, `--control "gain": expected NAME=VALUE with a whole number`},
		{[]string{"set", "greencam1", "--control", "gain=much"}, `--control "gain=much": expected NAME=VALUE with a whole number`},
		{[]string{"stop"}, "stop: the camera is missing: expected client control stop CAMERA"},
		{[]string{"set", "greencam1", "quality=80"}, `unexpected argument "quality=80"; see client control set --help`},
		{[]string{"status", "greencam1"}, `unexpected argument "greencam1"; see client control status --help`},
		{[]string{"jump"}, `unknown command "jump"; client control has reload, restart, set, start, status, stop`},
	} {
		err := b.client(t.Context(), append([]string{"control"}, c.args...)...)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: got %v, want %q", c.args, err, c.want)
		}
	}
	b.redis.Kill()
	err := b.client(t.Context(), "control", "--box", "box8", "--timeout", "500ms", "status")
	if err == nil || !strings.Contains(err.Error(), "no answer: reach Redis at") || !strings.Contains(err.Error(), "refused") {
		t.Errorf("without Redis: got %v", err)
	}
}

func TestEvents(t *testing.T) {
	b := newBench(t, "stream", "greencam1")
	commands := startController(t, b, "box7")
	if err := b.client(t.Context(), "events", "--box", "box7", "--since", "2026-11-30T17:00:00Z"); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(b.stdout.String(), "\n")
	if len(lines) != 3 || !strings.HasSuffix(lines[0], "  failed    Redis is away") || !strings.Contains(lines[1], "  healthy   Redis was away\ufffd[2J (3 times since 2026-") {
		t.Errorf("got %q", lines)
	}
	if all := commands(); len(all) != 1 || all[0].Limit != 100 || all[0].Since.UTC().Format(time.RFC3339) != "2026-11-30T17:00:00Z" {
		t.Errorf("asked %+v", all)
	}
	b.stdout = buffer{}
	if err := b.client(t.Context(), "events", "--box", "box7", "--json", "--limit", "1"); err != nil {
		t.Fatal(err)
	}
	var r control.Reply
	var got []events.Event
	if err := json.Unmarshal([]byte(b.stdout.String()), &r); err != nil || json.Unmarshal(r.Result, &got) != nil || len(got) != 1 || got[0].ID != 2 {
		t.Errorf("--json: %q, %v", b.stdout.String(), err)
	}
	for flag, want := range map[string]string{"--since=yesterday": `--since "yesterday": expected a time such as`, "--limit=0": "--limit 0: expected 1 to 500"} {
		if err := b.client(t.Context(), "events", flag); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", flag, err, want)
		}
	}
}
