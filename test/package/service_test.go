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
		return b.property(t, controller, "StatusText") == "1 of 1 agents running, link LIVE"
	})
	t.Logf("what it wrote:\n%s", b.listing(t, "/var/lib/framekeeper", "/var/log/framekeeper"))

	for _, c := range []struct{ signal, what string }{{"KILL", "killed"}, {"STOP", "hung (WatchdogSec=4)"}, {"QUIT", "crashed with Go's exit code 2"}} {
		before := b.property(t, controller, "MainPID")
		b.must(t, "sh", "-c", "kill -"+c.signal+" "+before)
		took := eventually(t, 60*time.Second, "another process", func() bool {
			pid := b.property(t, controller, "MainPID")
			return pid != before && pid != "0"
		})
		t.Logf("controller %s: another one after %v, a frame %v later", c.what, took, b.frame(t))
	}
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

// probe is run in place of the controller, in its sandbox, and says what can be
// done there.
const probe = `try() { "$@" >/dev/null 2>&1 && echo "yes $*" || echo "no $*"; }
try systemctl start ` + portUnit + `
try systemctl start framekeeper-recover@else.service
try systemctl stop redis-server.service
try tee /dev/video7
try redis-cli -h 127.0.0.1 ping
try redis-cli -s /run/redis/redis-server.sock ping
try ls /proc/stat /proc/net/dev /sys/class
try touch /var/lib/framekeeper/x
try touch /var/log/framekeeper/x
try touch /tmp/x
try touch /etc/framekeeper/x
try touch /usr/x
try ls /home
try ls /root
try mknod /tmp/null c 1 3
try mount -t tmpfs x /tmp
try unshare --user true
`

const allowed = `yes systemctl start ` + portUnit + `
no systemctl start framekeeper-recover@else.service
no systemctl stop redis-server.service
yes tee /dev/video7
yes redis-cli -h 127.0.0.1 ping
yes redis-cli -s /run/redis/redis-server.sock ping
yes ls /proc/stat /proc/net/dev /sys/class
yes touch /var/lib/framekeeper/x
yes touch /var/log/framekeeper/x
yes touch /tmp/x
no touch /etc/framekeeper/x
no touch /usr/x
no ls /home
no ls /root
no mknod /tmp/null c 1 3
no mount -t tmpfs x /tmp
no unshare --user true`

// TestSandbox does in the service's sandbox what it must be able to do, and what
// it must not. A device of group video stands for a camera; it has the numbers
// of /dev/null, which every sandbox has.
func TestSandbox(t *testing.T) {
	need(t)
	b := boot(t)
	b.fakePort(t)
	b.must(t, "sh", "-c", "mknod -m 660 /dev/video7 c 1 3 && chown root:video /dev/video7")
	b.must(t, "sh", "-c", "printf 'unixsocket /run/redis/redis-server.sock\nunixsocketperm 777\n' >>/etc/redis/redis.conf && chmod 755 /run/redis && systemctl restart redis-server")
	b.must(t, "chmod", "755", "/run/redis")
	b.write(t, "/usr/local/bin/probe", probe)
	for _, unit := range []string{controller, agent} {
		b.dropIn(t, unit, "[Service]\nType=oneshot\nRestart=no\nWatchdogSec=0\nExecStart=\nExecStart=/bin/sh /usr/local/bin/probe\nStandardOutput=truncate:/run/probe\n")
		b.must(t, "systemctl", "start", unit)
		if got := b.must(t, "cat", "/run/probe"); got != allowed {
			t.Errorf("in the sandbox of %s:\n%s\nwant:\n%s", unit, got, allowed)
		}
	}
}

// fakePort puts a USB port into the box's /sys that notes what is written.
func (b *box) fakePort(t *testing.T) {
	t.Helper()
	b.must(t, "sh", "-c", `mount -t tmpfs -o mode=755 bus /sys/bus
mkdir -p /sys/bus/usb/devices/1-1:1.0/1-1-port2 /sys/bus/usb/devices/9-0:1.0/usb9-port1
echo 0 | tee /sys/bus/usb/devices/1-1:1.0/1-1-port2/disable >/sys/bus/usb/devices/9-0:1.0/usb9-port1/disable`)
}

// TestRecovery lets the service's user start what it may, and nothing else.
func TestRecovery(t *testing.T) {
	need(t)
	b := boot(t)
	b.fakePort(t)
	for _, unit := range []string{portUnit, "framekeeper-recover@usb-usb9-port1.service"} {
		began := time.Now()
		if out, err := b.as(t, "systemctl", "start", unit); err != nil {
			t.Errorf("start %s: %v\n%s", unit, err, out)
		} else if took := time.Since(began); took < 2*time.Second {
			t.Errorf("%s took %v, want the port off for 2 s", unit, took)
		}
	}
	if out := b.must(t, "sh", "-c", "cat /sys/bus/usb/devices/*/*/disable"); out != "0\n0" {
		t.Errorf("the ports' switches are %q at the end, want both on", out)
	}
	for _, args := range []string{
		"start redis-server.service", "restart " + portUnit, "stop " + portUnit, "start framekeeper-recover@else.service",
		"start framekeeper-recover@usb-1-1-port2x.service", "start framekeeper-controller.service", "reboot", "daemon-reload",
	} {
		if out, err := b.as(t, append([]string{"systemctl", "--no-ask-password"}, strings.Fields(args)...)...); err == nil {
			t.Errorf("systemctl %s as framekeeper: want a refusal, got %q", args, out)
		}
	}
	const reboot = "framekeeper-recover@reboot.service"
	b.write(t, "/run/uptime", "59.01 100.00\n")
	b.must(t, "mount", "--bind", "/run/uptime", "/proc/uptime")
	if _, err := b.as(t, "systemctl", "start", reboot); err == nil {
		t.Error("a box that started a minute ago rebooted again, want a refusal")
	}
	b.must(t, "sh", "-c", "echo 3601.00 7000.00 >/run/uptime")
	_, _ = b.as(t, "systemctl", "start", "--no-block", reboot) // may be cut off by what it does
	select {
	case <-b.done:
		// What the kernel makes of reboot(2) by the first of a PID namespace.
		if b.end != "signal: hangup" {
			t.Errorf("the box ended with %s, want a reboot", b.end)
		}
	case <-time.After(90 * time.Second):
		t.Error("the box did not reboot within 90 s")
	}
}
