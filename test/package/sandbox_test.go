package packagetest

import (
	"strings"
	"testing"
	"time"
)

// probe is run in place of the controller, in its sandbox, and says what can be
// done there.
const probe = `# camera FILE: does the sandbox let us reach its driver? There is none.
camera() { cat "$1" 2>&1 | grep 'No such device or address'; }
try() { "$@" >/dev/null 2>&1 && echo "yes $*" || echo "no $*"; }
try systemctl start ` + portUnit + `
try systemctl start framekeeper-recover@else.service
try systemctl stop redis-server.service
try tee /dev/video7
try camera /dev/video8
try camera /dev/other
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
yes camera /dev/video8
no camera /dev/other
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
// it must not. Devices of group video stand for cameras: one has the numbers of
// /dev/null, which every sandbox has, one those of a camera, and one others.
func TestSandbox(t *testing.T) {
	need(t)
	b := boot(t)
	b.fakePort(t)
	b.must(t, "sh", "-c", "mknod -m 660 /dev/video7 c 1 3 && mknod -m 660 /dev/video8 c 81 255 && mknod -m 660 /dev/other c 240 255 && chown root:video /dev/video? /dev/other")
	b.must(t, "sh", "-c", "printf 'unixsocket /run/redis/redis-server.sock\nunixsocketperm 777\n' >>/etc/redis/redis.conf && chmod 755 /run/redis && systemctl restart redis-server")
	b.must(t, "chmod", "755", "/run/redis")
	b.write(t, "/usr/local/bin/probe", probe)
	for _, unit := range []string{controller, agent} {
		b.dropIn(t, unit, "[Service]\nType=oneshot\nRestart=no\nWatchdogSec=0\nExecStopPost=\nExecStart=\nExecStart=/bin/sh /usr/local/bin/probe\nStandardOutput=truncate:/run/probe\n")
		b.must(t, "systemctl", "start", unit)
		if got := b.must(t, "cat", "/run/probe"); got != allowed {
			t.Errorf("in the sandbox of %s:\n%s\nwant:\n%s", unit, got, allowed)
		}
	}
}

// cameras are a program that writes JPEGs, and a device that is not there.
const cameras = `
[controller]
recovery_after = 1
recovery_command = "systemctl start ` + portUnit + `"
[[camera]]
name = "execcam"
source = "exec:sh -c 'while cat /var/lib/framekeeper/still.jpg; do sleep 0.05; done'"
[[camera]]
name = "lostcam"
source = "/dev/video9"
stall_timeout = "200ms"
max_reopens = 1
`

// TestCameras runs what the service starts besides its agents: an exec: source's
// program, and a recovery_command for a camera that stays away.
func TestCameras(t *testing.T) {
	need(t)
	b := boot(t)
	b.fakePort(t)
	b.must(t, "systemctl", "start", controller)
	b.frame(t)
	b.must(t, "install", "-o", "framekeeper", "/tmp/out.jpg", "/var/lib/framekeeper/still.jpg")
	b.must(t, "sh", "-c", `printf %s "$1" >>`+configFile, "sh", cameras)
	b.must(t, "systemctl", "restart", controller)
	eventually(t, 60*time.Second, "a frame of exec:", func() bool {
		_, err := b.as(t, "framekeeper-client", "request", "--camera", "execcam", "-o", "/tmp/exec.jpg")
		return err == nil
	})
	b.must(t, "cmp", "/tmp/exec.jpg", "/var/lib/framekeeper/still.jpg")
	took := eventually(t, 60*time.Second, "the recovery", func() bool {
		_, err := b.try(t, "sh", "-c", "journalctl -o cat -u "+portUnit+" | grep -q 'port 2 of hub 1-1 was off'")
		return err == nil
	})
	t.Logf("recovery_command has run %v after the frame of exec:", took)
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
	b.uhubctl(t)
	const reboot = "framekeeper-recover@reboot.service"
	b.write(t, "/run/uptime", "59.01 100.00\n")
	// By the unit itself: some versions of systemd give it a /proc of its own, without what is mounted here.
	b.write(t, "/run/systemd/system/framekeeper-recover@.service.d/uptime.conf", "[Service]\nBindReadOnlyPaths=/run/uptime:/proc/uptime\n")
	b.must(t, "systemctl", "daemon-reload")
	if _, err := b.as(t, "systemctl", "start", reboot); err == nil {
		t.Error("a box that started a minute ago rebooted again, want a refusal")
	}
	if said := b.must(t, "journalctl", "-o", "cat", "-u", reboot); !strings.Contains(said, "the box started only 59 s ago") {
		t.Errorf("the refusal says:\n%s\nwant the box's time, not this machine's", said)
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

// uhubctl plays the program that knows more hubs than the kernel.
func (b *box) uhubctl(t *testing.T) {
	t.Helper()
	for _, c := range []struct{ unit, exit, want string }{
		{portUnit, "0", "port 2 of hub 1-1 was off for 2 s (uhubctl)"},
		{"framekeeper-recover@usb-usb9-port1.service", "0", "got --location 9 --ports 1 --action cycle --delay 2"},
		{portUnit, "1", "uhubctl cannot, trying the kernel\nport 2 of hub 1-1 was off for 2 s"},
	} {
		b.write(t, "/usr/local/bin/uhubctl", "#!/bin/sh\necho \"got $*\"\nexit "+c.exit+"\n")
		b.must(t, "chmod", "755", "/usr/local/bin/uhubctl")
		b.must(t, "systemctl", "start", c.unit)
		b.must(t, "journalctl", "--sync")
		out := b.must(t, "journalctl", "--no-pager", "-o", "cat", "-n", "5", "-u", c.unit)
		if out = strings.ReplaceAll(out, "recover: ", ""); !strings.Contains(out, c.want) {
			t.Errorf("with uhubctl that exits with %s, %s says:\n%s\nwant: %s", c.exit, c.unit, out, c.want)
		}
	}
}
