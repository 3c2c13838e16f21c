package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"framekeeper/internal/testkit/hostile"
	"framekeeper/internal/testkit/proctest"
	"framekeeper/internal/testkit/redistest"
)

// siege is one program, and the server in front of its Redis.
type siege struct {
	*bench
	ctx    context.Context
	o      *options
	victim victim
	random *rand.Rand

	home    string
	redis   *redis.Client // the way past the server in between
	middle  *hostile.Server
	process *proctest.Process
	normal  int // KiB that the program takes
	asked   int
}

// victim is a program that is attacked.
type victim struct {
	name     string
	channel  string   // that it is subscribed to
	commands []string // whose answers are forged; see hostile.Server
	begin    func(s *siege)
	works    func(s *siege) bool // does it work now? Looks for a moment
}

var victims = []victim{
	{
		"cam-agent", "request/cam",
		[]string{"connect", "hello", "subscribe", "push", "publish", "xadd", "xrevrange", "set", "xinfo"},
		func(s *siege) { s.process = s.spawn("cam-agent", "mid.toml") },
		func(s *siege) bool { return s.ask("request/cam", "stream/cam", `{"id":"%s","max_age_ms":60000}`) },
	},
	{
		"controller", "control/box",
		[]string{"connect", "hello", "subscribe", "push", "publish", "get"},
		(*siege).beginController,
		func(s *siege) bool {
			return s.ask("control/box", "control-reply/box", `{"id":"%s","command":"status"}`)
		},
	},
	{
		"client", "stream/cam",
		[]string{"connect", "hello", "subscribe", "push", "publish", "xread"},
		(*siege).beginClient,
		(*siege).stores,
	},
}

// buildPrograms builds what is not built yet.
func (o *options) buildPrograms() error {
	for _, name := range []string{"controller", "client"} {
		if err := proctest.Build(o.ctx, filepath.Join(o.bin.dir, name), "framekeeper/cmd/"+name); err != nil {
			return err
		}
	}
	return nil
}

// begin starts the program and waits until it works.
func (s *siege) begin() {
	server := redistest.Start(s, redistest.WithConfig("client-output-buffer-limit", "pubsub 0 0 0")) // what is sent here is not Redis's
	s.redis = server.Client()
	s.middle = hostile.Start(s, server.Addr())
	s.home = s.TempDir()
	s.configure("mid.toml", s.middle.URL())
	s.configure("direct.toml", server.URL())
	s.victim.begin(s)
	if _, ok := s.works(time.Now()); !ok {
		s.Fatalf("%s does not begin to work; its log:\n%s%s", s.victim.name, s.process.Said(), s.process.Tail(20))
	}
	s.pause(time.Second)
	s.normal = s.process.Footprint().RSSKiB
}

// end ends the program in order.
func (s *siege) end(all []attempts) {
	if err := s.process.End(syscall.SIGTERM); err != nil && s.victim.name != "client" { // which counts what it has missed
		all[0].Problems = append(all[0].Problems, fmt.Sprintf("at its end: %v", err))
	}
}

func (s *siege) configure(file, url string) {
	text := strings.Join([]string{
		setting("state_dir", filepath.Join(s.home, "state")),
		"[redis]", setting("url", url),
		"[delivery]", setting("retain_bytes", "8MiB"), setting("stream_max_bytes", "8MiB"), setting("spool_dir", filepath.Join(s.home, "spool")),
		"[log]", setting("format", "json"),
		"[controller]", setting("box", "box"), setting("http", ""), setting("log_interval", "1s"),
		"[client]", setting("images_dir", filepath.Join(s.home, "images")), setting("images_max_bytes", "2MiB"), setting("request_interval", "100ms"),
		"[[camera]]", setting("name", "cam"), setting("source", "test:"), "width = 160\nheight = 120\nfps = 30\npublish_fps = 30", setting("status_interval", "500ms"), "",
	}, "\n")
	if err := os.WriteFile(filepath.Join(s.home, file), []byte(text), 0o600); err != nil {
		s.Fatalf("write config: %v", err)
	}
}

func (s *siege) spawn(program, config string, args ...string) *proctest.Process {
	name := filepath.Join(s.o.bin.dir, program)
	p, err := proctest.Spawn(s.home, s.o.agentLog, name, append(args, "--config", config)...)
	if err != nil {
		s.Fatalf("%v", err)
	}
	s.Cleanup(func() { _ = p.End(syscall.SIGKILL) })
	return p
}

// beginController starts a controller, and stops its agent: that one is attacked by itself.
func (s *siege) beginController() {
	s.process = s.spawn("controller", "mid.toml")
	for deadline := time.Now().Add(startLimit); !s.ask("control/box", "control-reply/box", `{"id":"%s","command":"stop","camera":"cam"}`); {
		if time.Now().After(deadline) {
			s.Fatalf("the controller does not stop its agent; its log:\n%s", s.process.Tail(20))
		}
	}
}

// beginClient starts a client, and an agent that gives it frames.
func (s *siege) beginClient() {
	s.spawn("cam-agent", "direct.toml")
	s.process = s.spawn("client", "mid.toml", "run")
}

// ask publishes a request and reports whether it is answered at once.
func (s *siege) ask(channel, answers, request string) bool {
	s.asked++
	id := fmt.Sprintf("hostile-%d", s.asked)
	ctx, cancel := context.WithTimeout(s.ctx, 300*time.Millisecond)
	defer cancel()
	ps := s.redis.Subscribe(ctx, answers)
	defer func() { _ = ps.Close() }()
	if _, err := ps.Receive(ctx); err != nil {
		return false
	}
	if s.redis.Publish(ctx, channel, fmt.Sprintf(request, id)).Val() == 0 {
		s.pause(10 * time.Millisecond)
		return false // nobody is there
	}
	for {
		m, err := ps.ReceiveMessage(ctx)
		if err != nil {
			return false
		}
		if strings.Contains(m.Payload, id) {
			return true
		}
	}
}

// stores reports whether the client stores frames and asks for them.
func (s *siege) stores() bool {
	ctx, cancel := context.WithTimeout(s.ctx, 300*time.Millisecond)
	defer cancel()
	ps := s.redis.Subscribe(ctx, "request/cam")
	defer func() { _ = ps.Close() }()
	before := s.newest()
	if _, err := ps.ReceiveMessage(ctx); err != nil {
		return false
	}
	for ctx.Err() == nil {
		if s.newest() > before {
			return true
		}
		s.pause(5 * time.Millisecond)
	}
	return false
}

// newest is the name of the newest image; they begin with the time.
func (s *siege) newest() string {
	files, err := filepath.Glob(filepath.Join(s.home, "images", "cam", "*.jpg"))
	if err != nil || len(files) == 0 {
		return ""
	}
	return slices.Max(files)
}

func (s *siege) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-s.ctx.Done():
	}
}
