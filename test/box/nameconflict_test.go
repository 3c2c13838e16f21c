package box

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"framekeeper/internal/telemetry"
	"framekeeper/internal/testkit/redistest"
)

const (
	conflict   = "Another controller has this box's name"
	resolved   = "No other controller has this box's name any more"
	carriedOut = `"message":"Command carried out"`
)

// twin makes a box called box1, with a camera of its own, on a connection of its own.
func twin(t *testing.T, url, camera string) *box {
	t.Helper()
	text := strings.NewReplacer("URL", url, "USER", "", "TLS", "", `password_file = "DIR/password"`, "", `"cam1"`, `"`+camera+`"`).Replace(plainBox)
	return newBox(t, text)
}

// command runs client control to its end.
func (b *box) command(args ...string) (code int, text string) {
	b.Helper()
	p := b.start("client", append([]string{"control", "--box", "box1"}, args...)...)
	code = exitCode(p.finish())
	return code, p.out.String()
}

func (b *box) shared() bool {
	return strings.Contains(strings.Join(b.health().Reasons, "\n"), "the name is shared")
}

// TestTwoControllersOfOneName: two boxes made from one card both report the
// conflict, neither carries out a command that may be meant for the other, and
// cameras go on. No fault of the link makes a command have two effects.
func TestTwoControllersOfOneName(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	line := redistest.NewProxy(t, server.Addr())
	one, two := twin(t, server.URL(), "cam1"), twin(t, line.URL(), "cam2")
	first := one.start("controller")
	one.awaitHealthy()
	if code, text := one.command("status"); code != 0 || strings.Contains(text, "receive its commands") {
		t.Errorf("status of one alone: exit code %d\n%s", code, text)
	}
	second := two.start("controller")
	two.await("a controller that reaches Redis", func() bool { return two.health().Link.Live })
	live := time.Now()
	one.await("both to report that the name is shared", func() bool { return one.shared() && two.shared() })
	t.Logf("noticed by both %v after the second was seen LIVE", time.Since(live).Round(time.Millisecond))
	two.await("a working camera beside it", func() bool {
		a, b := one.health(), two.health()
		return len(a.Reasons) == 1 && len(b.Reasons) == 1 && a.Cameras["cam1"].Health.OK() && b.Cameras["cam2"].Health.OK()
	})
	t.Logf("/readyz: %q", one.health().Reasons)

	p := one.start("controller", "--status")
	if err := p.finish(); exitCode(err) != 1 || !strings.Contains(p.out.String(), "the name is shared with controller ") {
		t.Errorf("controller --status: %v\n%s", err, p.out.String())
	}

	code, text := one.command("status")
	t.Logf("client control status:\n%s", text)
	instances := regexp.MustCompile(`(?m)^controller (\w+) \(host \S+, address 127\.0\.0\.1, pid \d+\):$`).FindAllStringSubmatch(text, -1)
	if code != 1 || len(instances) != 2 || !strings.Contains(text, "cam1") || !strings.Contains(text, "cam2") || !strings.Contains(text, "2 controllers have this name: give each") {
		t.Fatalf("status of both: exit code %d, want 1 and both answers", code)
	}
	code, text = one.command("restart", "cam1")
	t.Logf("client control restart cam1:\n%s", text)
	if code != 1 || strings.Count(text, "nothing was done") != 2 || !strings.Contains(text, "2 controllers have this name, and 0 of them carried out restart") {
		t.Errorf("restart of both: exit code %d, want 1 and two refusals", code)
	}
	owner := map[string]string{} // by camera
	for _, i := range instances {
		for _, camera := range []string{"cam1", "cam2"} {
			if code, text := one.command("--instance", i[1], "restart", camera); code == 0 {
				owner[camera] = i[1]
				t.Logf("client control --instance %s restart %s:\n%s", i[1], camera, text)
			}
		}
	}
	if len(owner) != 2 || owner["cam1"] == owner["cam2"] {
		t.Errorf("with an instance: carried out by %v, want each camera's own controller", owner)
	}
	if code, text := one.command("--instance", "nobody", "--timeout", "2s", "restart", "cam1"); code != 1 || !strings.Contains(text, `no controller of box1 has the instance "nobody"`) {
		t.Errorf("an instance that is not there: exit code %d\n%s", code, text)
	}
	telemetryOfBoth(t, server)
	if _, text, err := one.get("/metrics", "", ""); err != nil || !strings.Contains(text, "\nframekeeper_controller_namesakes 1\n") {
		t.Errorf("/metrics: %v, want framekeeper_controller_namesakes 1", err)
	}

	effects := func() int { return strings.Count(first.out.String()+second.out.String(), carriedOut) }
	before := effects()
	for name, hurt := range map[string]func(){
		"Redis killed and started again": func() { server.Kill(); server.Restart() },
		"connections killed":             func() { server.KillClients("pubsub"); server.KillClients("normal") },
		"Redis frozen": func() {
			server.Freeze()
			one.await("both to notice", func() bool { return !one.health().Link.Live && !two.health().Link.Live })
			server.Thaw()
		},
		"one of them cut off": func() {
			line.Stall(redistest.Both)
			two.await("it to notice", func() bool { return !two.health().Link.Live })
			line.Unstall(redistest.Both)
		},
	} {
		hurting := make(chan struct{})
		go func() { defer close(hurting); hurt() }()
		for range 3 {
			one.command("--timeout", "5s", "reload")
		}
		<-hurting
		one.await("both to be back, and to report the conflict", func() bool {
			return one.health().Link.Live && two.health().Link.Live && one.shared() && two.shared()
		})
		if now := effects(); now != before {
			t.Errorf("%s: %d commands were carried out", name, now-before)
		}
	}
	for _, p := range []*program{first, second} {
		if n := strings.Count(p.out.String(), conflict); n != 1 {
			t.Errorf("it was logged %d times, want once", n)
		}
	}

	_ = second.end(syscall.SIGKILL)
	killed := time.Now()
	one.awaitHealthy()
	t.Logf("the conflict was over %v after the other was killed", time.Since(killed).Round(time.Millisecond))
	if code, text := one.command("restart", "cam1"); code != 0 {
		t.Errorf("restart of the one that is left: exit code %d\n%s", code, text)
	}

	// One that is given another name leaves this one at once.
	second = two.start("controller")
	one.await("both to report it again", func() bool { return one.shared() && two.shared() })
	text = strings.NewReplacer("URL", line.URL(), "USER", "", "TLS", "", `password_file = "DIR/password"`, "", `"cam1"`, `"cam2"`, `"box1"`, `"box2"`).Replace(plainBox)
	two.write(text)
	second.signal(syscall.SIGHUP)
	renamed := time.Now()
	one.awaitHealthy()
	two.awaitHealthy()
	t.Logf("both healthy %v after the other was given a name of its own", time.Since(renamed).Round(time.Millisecond))
	if n := strings.Count(first.out.String(), resolved); n != 2 {
		t.Errorf("the end was logged %d times, want twice", n)
	}
}

// TestNoCommandTwice gives commands all the while that two controllers of one name
// have not noticed each other yet: each has one effect at most.
func TestNoCommandTwice(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	one, two := twin(t, server.URL(), "cam1"), twin(t, server.URL(), "cam2")
	both := func() bool { return one.shared() && two.shared() }
	first := one.start("controller")
	for range 3 { // the second comes
		one.awaitHealthy()
		second := two.start("controller")
		commandAll(t, server, both)
		commandedOnce(t, first, second)
		_ = second.end(syscall.SIGTERM)
	}
	for range 3 { // both come at once, as after a power cut
		_ = first.end(syscall.SIGKILL)
		second := two.start("controller")
		first = one.start("controller")
		commandAll(t, server, both)
		commandedOnce(t, first, second)
		_ = second.end(syscall.SIGTERM)
	}
	for range 3 { // the first stands still, and goes on with what it has not read yet
		one.awaitHealthy()
		first.signal(syscall.SIGSTOP)
		second := two.start("controller")
		commandAll(t, server, func() bool { return strings.Count(second.out.String(), carriedOut) > 2 })
		first.signal(syscall.SIGCONT)
		commandAll(t, server, both)
		commandedOnce(t, first, second)
		_ = second.end(syscall.SIGTERM)
	}
}

// commandAll sends one command after the other, as fast as they are taken, until
// it is over.
func commandAll(t *testing.T, server *redistest.Server, over func() bool) {
	t.Helper()
	client := server.Client()
	deadline := time.Now().Add(patience)
	for !over() {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain for both to report that the name is shared")
		}
		command := fmt.Sprintf(`{"id":"%d","command":"reload"}`, time.Now().UnixNano())
		if err := client.Publish(t.Context(), "control/box1", command).Err(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(60 * time.Millisecond) // below the rate at which commands are refused
	}
}

// commandedOnce looks for commands that both have carried out.
func commandedOnce(t *testing.T, programs ...*program) {
	t.Helper()
	carried := map[string]int{}
	for _, p := range programs {
		for _, m := range regexp.MustCompile(`"command":"reload","id":"(\d+)".*`+carriedOut).FindAllStringSubmatch(p.out.String(), -1) {
			carried[m[1]]++
		}
	}
	t.Logf("%d commands were carried out", len(carried))
	for id, n := range carried {
		if n > 1 {
			t.Errorf("command %s was carried out by %d controllers", id, n)
		}
	}
}

// telemetryOfBoth waits for samples of two controllers.
func telemetryOfBoth(t *testing.T, server *redistest.Server) {
	t.Helper()
	sub := listen(t, server, "box1_log")
	from := map[string]bool{}
	for len(from) < 2 {
		m, err := sub.ReceiveMessage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var s telemetry.Sample
		if err := json.Unmarshal([]byte(m.Payload), &s); err != nil || s.Instance == "" {
			t.Fatalf("%v in %s, want an instance", err, m.Payload)
		}
		from[s.Instance] = true
	}
}

// TestControllerIsNotItsOwnRival: whatever a controller leaves behind, the next
// one is alone of its name and carries out commands at once.
func TestControllerIsNotItsOwnRival(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	b := twin(t, server.URL(), "cam1")
	var logged strings.Builder
	controller := b.start("controller")
	again := func(sig syscall.Signal) func() {
		return func() {
			_ = controller.end(sig)
			logged.WriteString(controller.out.String())
			controller = b.start("controller")
		}
	}
	reload := func(from, to string) func() {
		return func() {
			text := strings.NewReplacer("URL", server.URL(), "USER", "", "TLS", "", `password_file = "DIR/password"`, "", from, to).Replace(plainBox)
			n := strings.Count(controller.out.String(), "Configuration reloaded")
			b.write(text)
			controller.signal(syscall.SIGHUP)
			b.await("the reload", func() bool { return strings.Count(controller.out.String(), "Configuration reloaded") > n })
		}
	}
	for round := range 3 {
		for _, c := range []struct {
			name string
			do   func()
		}{
			{"killed", again(syscall.SIGKILL)},
			{"ended in order", again(syscall.SIGTERM)},
			{"killed while Redis stands still", func() {
				server.Freeze()
				again(syscall.SIGKILL)()
				server.Thaw()
			}},
			{"Redis killed", func() { server.Kill(); server.Restart() }},
			{"stopped for a while", func() {
				controller.signal(syscall.SIGSTOP)
				server.KillClients("pubsub")
				controller.signal(syscall.SIGCONT)
			}},
			{"reloaded", reload(`"200ms"`, fmt.Sprintf(`"%dms"`, 201+round))},
			{"renamed", reload(`"box1"`, `"box2"`)},
			{"renamed back", reload(`"box1"`, `"box1"`)},
		} {
			c.do()
			if c.name == "renamed" {
				continue
			}
			began := time.Now()
			if code, text := b.command("stop", "cam1"); code != 0 {
				t.Errorf("%s: exit code %d\n%s", c.name, code, text)
			}
			t.Logf("%s: carried out after %v", c.name, time.Since(began).Round(time.Millisecond))
		}
	}
	logged.WriteString(controller.out.String())
	if strings.Contains(logged.String(), conflict) {
		t.Errorf("it took itself for another:\n%s", logged.String())
	}
}
