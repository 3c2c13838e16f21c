package box

import (
	"context"
	"encoding/base64"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9"

	"framekeeper/internal/testkit/redistest"
)

// The secrets, of which no part may be seen anywhere.
const (
	redisSecret  = "planted-in-redis-7Qx"
	cameraSecret = "planted-in-camera-9Zk"
	tokenSecret  = "planted-in-query-4Wv"
	httpSecret   = "planted-in-http-2Jp"
)

const secretBox = `state_dir = "DIR/state"
[redis]
url = "redis://REDIS/0"
embedded = true
password_file = "DIR/redis-password"
[delivery]
spool_dir = "DIR/state/spool"
[log]
level = "trace"
[controller]
box = "box1"
log_interval = "200ms"
http = "HTTP"
http_user = "operator"
http_password_file = "DIR/http-password"
recovery_after = 1
recovery_command = "env >DIR/recovery-environment; cat /proc/self/cmdline"
[client]
images_dir = "DIR/images"
[[camera]]
name = "good"
source = "http://user:CAMERA@SERVER/good?token=TOKEN"
stall_timeout = "500ms"
publish_fps = 5
[[camera]]
name = "refused"
source = "http://user:CAMERA@SERVER/refuse?token=TOKEN"
stall_timeout = "500ms"
max_reopens = 2
[[camera]]
name = "absent"
source = "http://user:CAMERA@127.0.0.1:1/x?token=TOKEN"
stall_timeout = "500ms"
max_reopens = 2
[[camera]]
name = "unbuilt"
source = "rtsp://user:CAMERA@127.0.0.1:1/x?token=TOKEN"
`

// search looks for the secrets.
type search struct {
	*testing.T
	words []string
	bytes int
}

func newSearch(t *testing.T) *search {
	s := &search{T: t}
	for _, secret := range []string{redisSecret, cameraSecret, tokenSecret, httpSecret} {
		s.words = append(s.words, secret, url.QueryEscape(secret))
	}
	for _, pair := range []string{"user:" + cameraSecret, "operator:" + httpSecret} {
		s.words = append(s.words, base64.StdEncoding.EncodeToString([]byte(pair)))
	}
	return s
}

func (s *search) in(where, text string) {
	s.Helper()
	s.bytes += len(text)
	for _, word := range s.words {
		if i := strings.Index(text, word); i >= 0 {
			s.Errorf("%s: %q stands in …%.200q", where, word, text[max(0, i-100):])
			return
		}
	}
}

// TestPlantedSecrets runs the programs well and badly, and searches everything
// they show for passwords.
func TestPlantedSecrets(t *testing.T) {
	t.Parallel()
	addr := redistest.FreeAddr(t)
	text := strings.NewReplacer("REDIS", addr, "CAMERA", cameraSecret, "TOKEN", tokenSecret, "SERVER", startCamera(t, "127.0.0.1:0").addr()).Replace(secretBox)
	b := newBox(t, text)
	for file, secret := range map[string]string{"redis-password": redisSecret, "http-password": httpSecret} {
		if err := os.WriteFile(b.path(file), []byte(secret+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := newSearch(t)
	controller := b.start("controller")
	b.await("the good camera", func() bool { return b.start("client", "request", "--camera", "good").finish() == nil })
	messages := s.overhear(addr)
	b.await("the bad cameras' ends, and the recovery command", func() bool {
		_, page, _ := b.get("/readyz", "operator", httpSecret)
		_, err := os.Stat(b.path("recovery-environment"))
		return err == nil && strings.Contains(page, "camera abandoned") && strings.Contains(page, "configuration")
	})
	s.processes(b)
	s.pages(b)
	s.commands(b)
	s.keys(addr)
	s.in("messages", messages())

	// A password that is wrong for a while.
	if err := os.WriteFile(b.path("wrong"), []byte("something else\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.write(strings.Replace(text, "DIR/redis-password", "DIR/wrong", 1))
	s.run(b, "client", "request", "--camera", "good", "--timeout", "1s")
	s.badConfigs(b, controller, text)
	b.write(text)
	_ = controller.end(syscall.SIGTERM)
	s.in("the controller's log", controller.out.String())
	s.files(b)
	t.Logf("searched %d bytes", s.bytes)
	if s.bytes < 100_000 {
		t.Errorf("searched %d bytes only", s.bytes)
	}
}

// overhear collects everything that is published until it is asked for.
func (s *search) overhear(addr string) (heard func() string) {
	client := redis.NewClient(&redis.Options{Addr: addr, Password: redisSecret, Protocol: 2, DisableIdentity: true})
	sub := client.PSubscribe(s.Context(), "*")
	if _, err := sub.Receive(s.Context()); err != nil {
		s.Fatal(err)
	}
	var out output
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			m, err := sub.ReceiveMessage(context.Background())
			if err != nil {
				return
			}
			_, _ = out.Write([]byte(m.Channel + " " + m.Payload + "\n"))
		}
	}()
	return func() string {
		_ = sub.Close()
		<-done
		_ = client.Close()
		for _, channel := range []string{"status/good", "status/absent", "box1_log"} {
			if !strings.Contains(out.String(), channel+" ") {
				s.Errorf("nothing was published on %s", channel)
			}
		}
		return out.String()
	}
}

// processes searches the command lines and environments of all that the box
// runs, redis-server included. One that has only just begun, or is about to be
// begun again, is waited for.
func (s *search) processes(b *box) {
	b.await("controller, agent and redis-server", func() bool { return s.lookAtProcesses(b) >= 3 })
}

func (s *search) lookAtProcesses(b *box) (mine int) {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		command, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		if !strings.Contains(string(command), b.config) && !strings.Contains(string(command), "redis-server") {
			continue
		}
		environment, err := os.ReadFile(filepath.Join(dir, "environ"))
		if err == nil {
			mine++
		}
		s.in(dir+" cmdline", string(command))
		s.in(dir+" environ", string(environment))
	}
	return mine
}

func (s *search) pages(b *box) {
	for _, path := range []string{"/", "/healthz", "/readyz", "/metrics", "/nothing?x=" + url.QueryEscape("<b>")} {
		for _, password := range []string{httpSecret, "wrong", ""} {
			status, body, err := b.get(path, "operator", password)
			if err != nil {
				s.Errorf("%s: %v", path, err)
			}
			if want := password == httpSecret; want == (status == http.StatusUnauthorized) {
				s.Errorf("%s with %q: got %d", path, password, status)
			}
			s.in(path, body)
		}
	}
}

// run runs a program to its end and searches what it says.
func (s *search) run(b *box, name string, args ...string) string {
	s.Helper()
	p := b.start(name, args...)
	_ = p.finish() // how it ends is not the question here
	s.in(fmt.Sprint(name, args), p.out.String())
	return p.out.String()
}

func (s *search) commands(b *box) {
	for _, camera := range []string{"good", "refused", "absent", "unbuilt"} {
		if out := s.run(b, "cam-agent", "--check", "--camera", camera); out == "" {
			s.Errorf("--check of %s said nothing", camera)
		}
	}
	s.run(b, "cam-agent", "--camera", "absent") // a second one
	s.run(b, "cam-agent", "--list-devices")
	s.run(b, "controller", "--status")
	s.run(b, "controller", "--check")
	s.run(b, "controller") // a second one
	for _, key := range []string{"redis.url", "redis.password_file", "state_dir"} {
		s.run(b, "controller", "--get", key)
	}
	s.run(b, "client", "status")
	s.run(b, "client", "status", "--json")
	s.run(b, "client", "control", "--box", "box1", "status")
	s.run(b, "client", "control", "--box", "box1", "reload")
	s.run(b, "client", "control", "--box", "box1", "restart", "absent")
	s.run(b, "client", "watch", "--json", "--camera", "good", "--count", "2")
	s.run(b, "client", "run", "--camera", "good", "--duration", "1s")
	s.run(b, "client", "request", "--camera", "absent", "--json")
}

// keys searches what is in Redis.
func (s *search) keys(addr string) {
	client := redis.NewClient(&redis.Options{Addr: addr, Password: redisSecret, Protocol: 2, DisableIdentity: true})
	defer client.Close()
	for _, name := range []string{"good", "absent"} {
		text, err := client.Get(s.Context(), "status:"+name).Result()
		if err != nil && name == "good" {
			s.Errorf("status:%s: %v", name, err)
		}
		s.in("status:"+name, text)
	}
	entries, err := client.XRange(s.Context(), "frames:good", "-", "+").Result()
	if err != nil || len(entries) == 0 {
		s.Errorf("frames:good: got %d entries, %v", len(entries), err)
	}
	for _, e := range entries {
		s.in("frames:good", fmt.Sprint(e.Values["header"]))
	}
}

// badConfigs are slips of the hand around passwords.
func (s *search) badConfigs(b *box, running *program, text string) {
	for _, slip := range [][2]string{
		{`url = "redis://`, `url = "redis://:` + redisSecret + `@`},
		{`url = "redis://`, `url = "redis:/:` + redisSecret + `@`},
		{`password_file = "DIR/redis-password"`, `password = "` + redisSecret + `"`},
		{`http_password_file = "DIR/http-password"`, `http_password = "` + httpSecret + `"`},
		{`http_password_file = "DIR/http-password"`, `http_password_file = "DIR/absent"`},
		{`source = "rtsp://user:`, `source = "rtsp:/user:`},
		{`source = "rtsp://user:`, `source = "//user:`},
		{`name = "unbuilt"`, `name = "un built"`},
		{`name = "unbuilt"`, `name = unbuilt`},
		{`token=` + tokenSecret + "\"\n", `token=` + tokenSecret + "\n"},
	} {
		b.write(strings.Replace(text, slip[0], slip[1], 1))
		s.refusal(b, running)
		for _, program := range [][]string{{"controller"}, {"controller", "--check"}, {"cam-agent", "--camera", "unbuilt"}, {"cam-agent", "--check", "--camera", "absent"}, {"client", "status"}} {
			if out := s.run(b, program[0], program[1:]...); out == "" {
				s.Errorf("%v with %s said nothing", program, slip[1][:min(12, len(slip[1]))])
			}
		}
	}
}

// refusal has the controller refuse what is in the file, and searches what it
// shows of that.
func (s *search) refusal(b *box, controller *program) {
	const says = "the old one stays in force"
	before := strings.Count(controller.out.String(), says)
	controller.signal(syscall.SIGHUP)
	b.await("the refusal", func() bool { return strings.Count(controller.out.String(), says) > before })
	for path, want := range map[string]string{"/": "is refused", "/readyz": `"refused":true`} {
		_, body, err := b.get(path, "operator", httpSecret)
		if err != nil || !strings.Contains(body, want) {
			s.Errorf("%s: %v, want %q in it:\n%s", path, err, want, body)
		}
		s.in(path, body)
	}
}

// files searches the state directory and what recovery_command was given.
func (s *search) files(b *box) {
	for _, root := range []string{b.path("state"), b.path("images"), b.path("recovery-environment")} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			text, err := os.ReadFile(path)
			s.in(path, string(text))
			return err
		})
		if err != nil {
			s.Error(err)
		}
	}
}
