package packagetest

import (
	"strings"
	"testing"
	"time"
)

const (
	controller = "framekeeper-controller.service"
	agent      = "framekeeper-cam-agent@greencam1.service"
	portUnit   = "framekeeper-recover@usb-1-1-port2.service"
	// dropIns is where a test changes a unit.
	dropIns = "/run/systemd/system/"
)

// property is one value of a unit as systemd knows it.
func (b *box) property(t *testing.T, unit, name string) string {
	t.Helper()
	return b.must(t, "systemctl", "show", "-P", name, unit)
}

// dropIn changes a unit until it is given another text.
func (b *box) dropIn(t *testing.T, unit, text string) {
	t.Helper()
	b.write(t, dropIns+unit+".d/test.conf", text)
	b.must(t, "systemctl", "daemon-reload")
}

// boot starts a box with a running systemd and the package in it.
func boot(t *testing.T) *box {
	t.Helper()
	b := start(t, "/usr/lib/systemd/systemd", "--log-target=console", "--show-status=0")
	var state string
	eventually(t, 90*time.Second, "systemd to be up", func() bool {
		state, _ = b.try(t, "systemctl", "is-system-running") // exits 1 until it is
		return state == "running" || state == "degraded"
	})
	if state != "running" {
		t.Errorf("systemd is %s:\n%s", state, b.must(t, "systemctl", "--failed", "--no-pager"))
	}
	b.must(t, "dpkg", "-i", "/mnt/0.1.deb")
	t.Cleanup(func() {
		if t.Failed() {
			out, _ := b.try(t, "journalctl", "--no-pager", "-n", "60", "-u", "framekeeper-*")
			t.Logf("the journal's end:\n%s", out)
		}
	})
	return b
}

// TestUnits asks systemd's own judges.
func TestUnits(t *testing.T) {
	need(t)
	b := boot(t)
	if out, err := b.try(t, "systemd-analyze", "verify", controller, agent, portUnit); err != nil || out != "" {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	for _, name := range []string{"framekeeper-controller", "framekeeper-cam-agent@", "framekeeper-recover@"} {
		out, err := b.try(t, "systemd-analyze", "security", "--offline=true", "--threshold=25", "--no-pager", "/usr/lib/systemd/system/"+name+".service")
		t.Log(lastLines(out, 1))
		if err != nil {
			t.Errorf("%s is too exposed: %v\n%s", name, err, out)
		}
	}
}

// TestService lives through what happens to a box: first start, crash, hang,
// upgrade, removal.
func TestService(t *testing.T) {
	need(t)
	b := boot(t)
	if out, _ := b.try(t, "systemctl", "is-enabled", controller); out != "disabled" {
		t.Errorf("after the installation the service is %s, want disabled", out)
	}
	if got := b.property(t, controller, "ActiveState"); got != "inactive" {
		t.Errorf("after the installation the service is %s, want inactive", got)
	}
	b.dropIn(t, controller, "[Service]\nWatchdogSec=4\n") // 30 s are long to wait for
	b.must(t, "systemctl", "enable", "--now", controller)
	t.Logf("enabled and started: a frame after %v", b.frame(t))
	eventually(t, 10*time.Second, "the status", func() bool {
		return b.property(t, controller, "StatusText") == "healthy: 1 of 1 agents running, link LIVE"
	})
	t.Logf("what it wrote:\n%s", b.listing(t, "/var/lib/framekeeper", "/var/log/framekeeper"))
	b.reload(t)

	for _, c := range []struct{ signal, what string }{{"KILL", "killed"}, {"STOP", "hung (WatchdogSec=4)"}, {"QUIT", "crashed with Go's exit code 2"}} {
		before := b.property(t, controller, "MainPID")
		b.must(t, "sh", "-c", "kill -"+c.signal+" "+before)
		took := eventually(t, 60*time.Second, "another process", func() bool {
			pid := b.property(t, controller, "MainPID")
			return pid != before && pid != "0"
		})
		t.Logf("controller %s: another one after %v, a frame %v later", c.what, took, b.frame(t))
	}
	// The agents were not killed with it: each start says how the last one ended.
	starts := b.starts(t)
	if n := strings.Count(starts, `"clean":true`); n != strings.Count(starts, "\n")+1 || n < 3 {
		t.Errorf("an agent did not end in order, want every one clean:\n%s", starts)
	}
	b.leftOver(t)
	b.upgrade(t)

	b.must(t, "dpkg", "-r", "framekeeper")
	if out, err := b.try(t, "sh", "-c", "cat /proc/[0-9]*/comm | grep -xE 'controller|cam-agent'"); err == nil {
		t.Errorf("after the removal there still run:\n%s", out)
	}
	b.must(t, "dpkg", "-P", "framekeeper")
	b.must(t, "rm", "-r", dropIns+controller+".d")
	if left := b.installed(t); left != "" {
		t.Errorf("purge left:\n%s", left)
	}
}

// reload has the configuration read again by the process that runs.
func (b *box) reload(t *testing.T) {
	t.Helper()
	before := b.property(t, controller, "MainPID")
	b.must(t, "systemctl", "reload", controller)
	eventually(t, 10*time.Second, "the reload", func() bool {
		_, err := b.try(t, "sh", "-c", "journalctl -o cat -u "+controller+" | grep -q 'Configuration reloaded'")
		return err == nil
	})
	// A file that is wrong: systemctl says so, and the service goes on.
	b.must(t, "sh", "-c", "cp -p "+configFile+" /root/good.toml && echo nonsense = 1 >>"+configFile)
	if out, err := b.try(t, "systemctl", "reload", controller); err == nil {
		t.Errorf("systemctl reload takes a file that is wrong: %s", out)
	}
	if out, _ := b.try(t, "systemctl", "status", "--no-pager", controller); !strings.Contains(out, "nonsense: unknown key") || !strings.Contains(out, "active (running)") {
		t.Errorf("systemctl status does not say what is wrong, or that all goes on:\n%s", out)
	}
	b.must(t, "mv", "/root/good.toml", configFile)
	b.must(t, "systemctl", "reload", controller)
	if after := b.property(t, controller, "MainPID"); after != before {
		t.Errorf("the reload made process %s of %s", after, before)
	}
}

// starts is what each start of the camera's agent said in the stream, a line
// each.
func (b *box) starts(t *testing.T) string {
	t.Helper()
	return b.must(t, "sh", "-c", `redis-cli XRANGE frames:greencam1 - + | grep -a -o '"status":"started".*'`)
}

// leftOver kills the controller while its agent hangs: that must not keep the
// camera.
func (b *box) leftOver(t *testing.T) {
	t.Helper()
	b.must(t, "sh", "-c", "for f in $(grep -lx cam-agent /proc/[0-9]*/comm); do kill -STOP $(basename $(dirname $f)); done")
	b.must(t, "sh", "-c", "kill -KILL "+b.property(t, controller, "MainPID"))
	t.Logf("controller killed, agent hung: a frame after %v", b.frame(t))
	if n := b.must(t, "sh", "-c", "grep -lx cam-agent /proc/[0-9]*/comm | wc -l"); n != "1" {
		t.Errorf("%s agents run, want one", n)
	}
}

// upgrade installs the next version: what runs is restarted, and an unedited
// configuration is replaced, its owner and mode kept.
func (b *box) upgrade(t *testing.T) {
	t.Helper()
	before := b.property(t, controller, "MainPID")
	b.must(t, "dpkg", "-i", "/mnt/0.2.deb")
	if after := b.property(t, controller, "MainPID"); after == before || after == "0" {
		t.Errorf("after the upgrade the controller's process is %s, before it was %s: want another one", after, before)
	}
	b.must(t, "grep", "-qxF", news, configFile)
	if got, want := b.listing(t, configFile), "-rw-r----- root:framekeeper "+configFile; got != want {
		t.Errorf("after the upgrade there is %s, want %s", got, want)
	}
	t.Logf("upgraded: a frame after %v", b.frame(t))
}

// TestAgentService runs one camera without the controller.
func TestAgentService(t *testing.T) {
	need(t)
	b := boot(t)
	b.must(t, "systemctl", "start", controller)
	b.frame(t)
	b.must(t, "systemctl", "start", agent)
	if got := b.property(t, controller, "ActiveState"); got != "inactive" {
		t.Errorf("beside the agent's service the controller's is %s, want inactive: they conflict", got)
	}
	t.Logf("agent's service: a frame after %v, status %q", b.frame(t), b.property(t, agent, "StatusText"))
	before := b.property(t, agent, "MainPID")
	b.must(t, "sh", "-c", "kill -STOP "+before)
	took := eventually(t, 60*time.Second, "another process", func() bool {
		pid := b.property(t, agent, "MainPID")
		return pid != before && pid != "0"
	})
	t.Logf("agent hung (WatchdogSec=10): another one after %v, a frame %v later", took, b.frame(t))
	b.must(t, "systemctl", "stop", agent)
	if got := b.property(t, agent, "Result"); got != "success" {
		t.Errorf("stopping the agent's service: %s, want success", got)
	}
}
