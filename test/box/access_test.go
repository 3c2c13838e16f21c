package box

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9"

	"framekeeper/internal/testkit/redistest"
)

const plainBox = `state_dir = "DIR/state"
[redis]
url = "URL"
username = "USER"
password_file = "DIR/password"
TLS
[delivery]
spool_dir = "DIR/spool"
[log]
format = "json"
[controller]
box = "box1"
log_interval = "200ms"
http = "HTTP"
[client]
images_dir = "DIR/images"
[[camera]]
name = "cam1"
source = "test:"
width = 320
height = 240
publish_fps = 10
`

// documented are the rules in docs/security.md of each user, without the name.
func documented(t *testing.T) map[string][]any {
	t.Helper()
	text, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	rules := map[string][]any{}
	for _, m := range regexp.MustCompile(`(?m)^ACL SETUSER (\S+) (.*)$`).FindAllStringSubmatch(string(text), -1) {
		for _, rule := range strings.Fields(m[2]) {
			rules[m[1]] = append(rules[m[1]], strings.ReplaceAll(rule, "PASSWORD", passwordOf(m[1])))
		}
	}
	for _, role := range []string{"box1", "box1-client", "box1-operator", "default"} {
		if len(rules[role]) == 0 {
			t.Fatalf("docs/security.md has no ACL SETUSER for %s", role)
		}
	}
	return rules
}

func passwordOf(user string) string { return "pw-" + user }

// member makes a box of which the programs have one user.
func member(t *testing.T, server *redistest.Server, user, tls string) *box {
	t.Helper()
	b := newBox(t, strings.NewReplacer("URL", server.URL(), "USER", user, "TLS", tls).Replace(plainBox))
	if err := os.WriteFile(b.path("password"), []byte(passwordOf(user)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return b
}

// setUser gives a user rules; those it has stay.
func setUser(server *redistest.Server, user string, rules ...any) {
	server.Do(append([]any{"ACL", "SETUSER", user}, rules...)...)
}

// firstDocumented are the users that docs/security.md had at first. Installations have
// them, and new programs must do with them.
func firstDocumented() map[string][]any {
	rules := map[string][]any{}
	for user, text := range map[string]string{
		"agent":      "~frames:* ~status:* resetchannels &request/* &stream/* &status/* &probe/* +subscribe +publish +get +pttl +set +del +xadd +xlen +xtrim +xrevrange +xinfo|stream +xinfo|groups +multi +exec +role",
		"controller": "~status:* &*_log &control/* &control-reply/* &probe/* +subscribe +publish +get",
		"client":     "~frames:* ~status:* &request/* &stream/* &status/* &control/* &control-reply/* &probe/* +subscribe +publish +get +pttl +xread +xlen +xrange +xrevrange +xreadgroup +xack +xautoclaim +xpending +xgroup|create +xgroup|delconsumer",
	} {
		for _, rule := range append([]string{"on", ">" + passwordOf(user)}, strings.Fields(text)...) {
			rules[user] = append(rules[user], rule)
		}
	}
	return rules
}

// TestDocumentedUsers runs every program with the rights that docs/security.md gives it:
// nobody lacks one, and clients cannot command.
func TestDocumentedUsers(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rules := documented(t)
	for _, user := range []string{"box1", "box1-client", "box1-operator", "default"} {
		setUser(server, user, rules[user]...)
	}
	client, operator := member(t, server, "box1-client", ""), member(t, server, "box1-operator", "")
	b := member(t, server, "box1", "")
	log := listen(t, server, "box1_log")
	controller := b.start("controller")
	b.awaitHealthy()
	useAll(t, client)
	useAll(t, operator)
	useControl(t, operator)
	if m, err := log.ReceiveMessage(t.Context()); err != nil || !strings.Contains(m.Payload, `"box":"box1"`) {
		t.Errorf("telemetry: got %v, %v", m, err)
	}
	for _, denial := range denials(server) {
		t.Errorf("denied: %s", denial)
	}
	p := client.start("client", "control", "--box", "box1", "status")
	if err := p.finish(); exitCode(err) != 1 || !strings.Contains(p.out.String(), "NOPERM") && !strings.Contains(p.out.String(), "permission") {
		t.Errorf("a client commands the box: %v\n%s", err, p.out.String())
	}
	if err := controller.end(syscall.SIGTERM); err != nil {
		t.Errorf("controller: %v", err)
	}
}

// TestFirstDocumentedUsers runs every program with the users of earlier versions.
func TestFirstDocumentedUsers(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rules := firstDocumented()
	for _, role := range []string{"agent", "controller", "client"} {
		setUser(server, role, rules[role]...)
	}
	setUser(server, "box", rules["agent"]...)
	setUser(server, "box", rules["controller"]...)
	setUser(server, "box", ">"+passwordOf("box"))
	setUser(server, "default", "off")
	client := member(t, server, "client", "")

	t.Run("agent alone", func(t *testing.T) {
		b := member(t, server, "agent", "")
		agent := b.start("cam-agent", "--camera", "cam1")
		useAll(t, client)
		if err := agent.end(syscall.SIGTERM); err != nil {
			t.Errorf("cam-agent: %v", err)
		}
	})
	t.Run("controller with agents", func(t *testing.T) {
		b := member(t, server, "box", "")
		controller := b.start("controller")
		b.awaitHealthy()
		useAll(t, client)
		useControl(t, client)
		if err := controller.end(syscall.SIGTERM); err != nil {
			t.Errorf("controller: %v", err)
		}
	})
	t.Run("controller alone", func(t *testing.T) {
		b := member(t, server, "controller", "") // its agent is let in and may do nothing
		log := listen(t, server, "box1_log")
		b.start("controller")
		b.await("a controller that reaches Redis", func() bool { return b.health().Link.Live })
		useControl(t, client)
		if m, err := log.ReceiveMessage(t.Context()); err != nil || !strings.Contains(m.Payload, `"box":"box1"`) {
			t.Errorf("telemetry: got %v, %v", m, err)
		}
	})
	refusals(t, server, client)
}

// listen subscribes to channels, as a user of its own.
func listen(t *testing.T, server *redistest.Server, patterns ...string) *redis.PubSub {
	t.Helper()
	setUser(server, "listener", "on", ">"+passwordOf("listener"), "allchannels", "+psubscribe")
	o := server.ClientOptions()
	o.Username, o.Password = "listener", passwordOf("listener")
	client := redis.NewClient(o)
	sub := client.PSubscribe(t.Context(), patterns...)
	t.Cleanup(func() { _, _ = sub.Close(), client.Close() })
	if _, err := sub.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	return sub
}

// useAll is everything a client does with a camera.
func useAll(t *testing.T, b *box) {
	t.Helper()
	b.await("a first answer", func() bool {
		return b.start("client", "request", "--set", "angle=25", "-o", b.path("out.jpg")).finish() == nil
	})
	for _, args := range [][]string{
		{"watch", "--count", "3"}, {"status"}, {"run", "--duration", "2s"}, {"run", "--duration", "2s", "--group", "pool"},
	} {
		p := b.start("client", args...)
		if err := p.finish(); err != nil {
			t.Errorf("client %v: %v\n%s", args, err, p.out.String())
		}
	}
	if b.images("cam1") == 0 {
		t.Error("no image was stored")
	}
}

// useControl is the operator's way to the box.
func useControl(t *testing.T, b *box) {
	t.Helper()
	p := b.start("client", "control", "--box", "box1", "status")
	if err := p.finish(); exitCode(err) > 1 || !strings.Contains(p.out.String(), "cam1") {
		t.Errorf("client control status: %v\n%s", err, p.out.String())
	}
}

// denials is what Redis has refused, by its own log.
func denials(server *redistest.Server) []string {
	var all []string
	entries, _ := server.Do("ACL", "LOG").([]any)
	for _, e := range entries {
		all = append(all, fmt.Sprint(e))
	}
	return all
}

// refusals: nobody was denied anything on the way here but ECHO, which came later, and
// the agent with the controller's rights; and what is not in the rules is denied.
func refusals(t *testing.T, server *redistest.Server, client *box) {
	t.Helper()
	for _, denial := range denials(server) {
		if !strings.Contains(denial, "username controller") && !strings.Contains(denial, "object echo") {
			t.Errorf("denied: %s", denial)
		}
	}
	for user, commands := range map[string][][]any{
		"agent":      {{"FLUSHALL"}, {"SET", "other", "1"}, {"PUBLISH", "control/box1", "x"}, {"XREAD", "STREAMS", "frames:cam1", "0"}, {"CONFIG", "GET", "*"}},
		"controller": {{"SET", "status:cam1", "x"}, {"XRANGE", "frames:cam1", "-", "+"}, {"PUBLISH", "request/cam1", "{}"}},
		"client":     {{"XADD", "frames:cam1", "*", "a", "b"}, {"DEL", "status:cam1"}, {"SET", "status:cam1", "x"}, {"PUBLISH", "box1_log", "x"}},
	} {
		for _, command := range commands {
			reply := fmt.Sprint(server.Do(append([]any{"ACL", "DRYRUN", user}, command...)...))
			if !strings.Contains(reply, "no permission") {
				t.Errorf("%s, %v: got %q, want no permission", user, command, reply)
			}
		}
	}
}
