package packagetest

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

const (
	configFile = "/etc/framekeeper/config.toml"
	edited     = "# the operator was here"
)

// installed is what the package owns or makes, with owners and modes.
const installed = `drwxr-x--- root:framekeeper /etc/framekeeper
-rw-r----- root:framekeeper /etc/framekeeper/config.toml
lrwxrwxrwx root:root /usr/bin/framekeeper-cam-agent
lrwxrwxrwx root:root /usr/bin/framekeeper-client
lrwxrwxrwx root:root /usr/bin/framekeeper-controller
drwxr-xr-x root:root /usr/lib/framekeeper
-rwxr-xr-x root:root /usr/lib/framekeeper/await-agents
-rwxr-xr-x root:root /usr/lib/framekeeper/cam-agent
-rwxr-xr-x root:root /usr/lib/framekeeper/client
-rwxr-xr-x root:root /usr/lib/framekeeper/command
-rwxr-xr-x root:root /usr/lib/framekeeper/controller
-rwxr-xr-x root:root /usr/lib/framekeeper/recover
-rw-r--r-- root:root /usr/lib/systemd/system/framekeeper-cam-agent@.service
-rw-r--r-- root:root /usr/lib/systemd/system/framekeeper-controller.service
-rw-r--r-- root:root /usr/lib/systemd/system/framekeeper-recover@.service
drwxr-xr-x root:root /usr/share/doc/framekeeper
-rw-r--r-- root:root /usr/share/doc/framekeeper/CHANGELOG.md
-rw-r--r-- root:root /usr/share/doc/framekeeper/README.md
-rw-r--r-- root:root /usr/share/doc/framekeeper/copyright
drwxr-xr-x root:root /usr/share/doc/framekeeper/docs
-rw-r--r-- root:root /usr/share/doc/framekeeper/docs/cameras.md
-rw-r--r-- root:root /usr/share/doc/framekeeper/docs/configuration.md
-rw-r--r-- root:root /usr/share/doc/framekeeper/docs/development.md
-rw-r--r-- root:root /usr/share/doc/framekeeper/docs/guarantees.md
-rw-r--r-- root:root /usr/share/doc/framekeeper/docs/host.md
-rw-r--r-- root:root /usr/share/doc/framekeeper/docs/install.md
-rw-r--r-- root:root /usr/share/doc/framekeeper/docs/migration.md
-rw-r--r-- root:root /usr/share/doc/framekeeper/docs/monitoring.md
-rw-r--r-- root:root /usr/share/doc/framekeeper/docs/operations.md
-rw-r--r-- root:root /usr/share/doc/framekeeper/docs/page.png
-rw-r--r-- root:root /usr/share/doc/framekeeper/docs/protocol.md
-rw-r--r-- root:root /usr/share/doc/framekeeper/docs/security.md
-rw-r--r-- root:root /usr/share/doc/framekeeper/docs/troubleshooting.md
drwxr-xr-x root:root /usr/share/doc/framekeeper/examples
-rw-r--r-- root:root /usr/share/doc/framekeeper/examples/config.full.toml
-rw-r--r-- root:root /usr/share/doc/framekeeper/examples/config.toml
drwxr-xr-x root:root /usr/share/doc/framekeeper/monitoring
-rw-r--r-- root:root /usr/share/doc/framekeeper/monitoring/alerts.yml
-rw-r--r-- root:root /usr/share/doc/framekeeper/monitoring/dashboard.json
-rw-r--r-- root:root /usr/share/doc/framekeeper/monitoring/prometheus.yml
-rw-r--r-- root:root /usr/share/polkit-1/rules.d/50-framekeeper.rules
drwxr-x--- framekeeper:framekeeper /var/lib/framekeeper
drwxr-x--- framekeeper:framekeeper /var/log/framekeeper`

func (b *box) installed(t *testing.T) string {
	t.Helper()
	return b.must(t, "sh", "-c", `find /etc /usr /var -path '*framekeeper*' ! -path '/var/lib/dpkg/*' -printf '%M %u:%g %p\n' | sort -k 3`)
}

// TestByHand installs, uses, upgrades, removes and purges the package where no
// systemd runs, as in a container.
func TestByHand(t *testing.T) {
	need(t)
	b := start(t, "/bin/sleep", "infinity")
	t.Log(b.must(t, "dpkg", "-i", "/mnt/0.1.deb"))
	got := b.installed(t)
	t.Logf("installed:\n%s", got)
	if got != installed {
		t.Errorf("installed other files, owners or modes, want:\n%s", installed)
	}
	if id := b.must(t, "id", "-nG", "framekeeper"); id != "framekeeper video" {
		t.Errorf("the user is in groups %q, want framekeeper video", id)
	}
	configured(t, b)
	serves(t, b)
	recoverRefuses(t, b)

	b.must(t, "sh", "-c", "echo '"+edited+"' >>"+configFile+" && chmod 0600 "+configFile)
	b.must(t, "dpkg", "--force-confdef", "--force-confold", "-i", "/mnt/0.2.deb") // as install.sh
	if v := b.must(t, "dpkg-query", "-W", "-f", "${Version}", "framekeeper"); v != "0.2" {
		t.Errorf("after the upgrade it is version %s, want 0.2", v)
	}
	keeps(t, b, "the upgrade")
	b.must(t, "grep", "-qxF", news, configFile+".dpkg-dist")
	b.must(t, "dpkg", "-r", "framekeeper")
	keeps(t, b, "the removal")
	if _, err := b.try(t, "test", "-e", "/usr/lib/framekeeper"); err == nil {
		t.Error("the removal left /usr/lib/framekeeper")
	}
	b.must(t, "dpkg", "-i", "/mnt/0.2.deb")
	keeps(t, b, "the second installation")
	b.must(t, "dpkg", "-P", "framekeeper")
	if left := b.installed(t); left != "" {
		t.Errorf("purge left:\n%s", left)
	}
	b.must(t, "dpkg", "-i", "/mnt/0.2.deb")
	if got := b.installed(t); got != installed {
		t.Errorf("after a purge installed\n%s\nwant:\n%s", got, installed)
	}
}

// keeps looks whether what the operator wrote and what the service kept is
// still there, with its mode and owner.
func keeps(t *testing.T, b *box, after string) {
	t.Helper()
	if out, err := b.try(t, "grep", "-cx", edited, configFile); out != "1" {
		t.Errorf("%s lost the operator's line in %s: %v", after, configFile, err)
	}
	if got, want := b.listing(t, configFile), "-rw------- root:framekeeper "+configFile; got != want {
		t.Errorf("%s gave %q, want %q", after, got, want)
	}
	if _, err := b.try(t, "test", "-s", "/var/lib/framekeeper/state/greencam1/state.json"); err != nil {
		t.Errorf("%s lost the camera's state", after)
	}
}

// configured looks whether the programs take the package's configuration.
func configured(t *testing.T, b *box) {
	t.Helper()
	for key, want := range map[string]string{
		"state_dir":         "/var/lib/framekeeper/state",
		"client.images_dir": "/var/lib/framekeeper/images",
	} {
		if got := b.must(t, "framekeeper-controller", "--get", key); got != want {
			t.Errorf("%s is %s, want %s", key, got, want)
		}
	}
	if out := b.must(t, "grep", "-c", `^spool_dir = "/var/lib/framekeeper/spool"$`, configFile); out != "1" {
		t.Errorf("spool_dir stands %s times in the configuration", out)
	}
	if out, err := b.as(t, "framekeeper-cam-agent", "--check"); err != nil || !strings.HasPrefix(out, "camera greencam1: test:") {
		t.Errorf("cam-agent --check: %v\n%s", err, out)
	}
}

// serves runs Redis and the controller by hand and asks for a frame.
func serves(t *testing.T, b *box) {
	t.Helper()
	b.must(t, "sh", "-c", "redis-server --save '' --daemonize yes --pidfile /run/redis.pid --dir /tmp >/dev/null")
	b.must(t, "sh", "-c", "setsid framekeeper-controller </dev/null >/tmp/log 2>&1 &")
	took := b.frame(t)
	pid := b.must(t, "head", "-n", "1", "/var/lib/framekeeper/state/controller.lock")
	b.must(t, "framekeeper-client", "run", "--duration", "1s")
	if out := b.must(t, "find", "/var/lib/framekeeper", "!", "-user", "framekeeper"); out != "" {
		t.Errorf("root's hand left what the service cannot change:\n%s", out)
	}
	calledByRoot(t, b)
	t.Logf("run by hand: a frame after %v; what it wrote:\n%s", took, b.listing(t, "/var/lib/framekeeper"))
	b.must(t, "sh", "-c", "kill "+pid)
	eventually(t, 10*time.Second, "the controller's end", func() bool {
		_, err := b.try(t, "grep", "-q", "Controller stopped", "/tmp/log")
		return err == nil
	})
	endsOnce(t, b)
	b.must(t, "redis-cli", "shutdown", "nosave")
}

// calledByRoot looks at who root's hand is: the service's user, but for a file
// that only root can write.
func calledByRoot(t *testing.T, b *box) {
	t.Helper()
	for i, args := range []string{
		"watch --from-start --count 1",
		"--config /etc/framekeeper/config.toml watch --from-start --count 1",
		"watch --from-start --count=1 --config=/etc/framekeeper/../framekeeper/config.toml",
	} {
		name := fmt.Sprintf("/var/log/framekeeper/called%d", i)
		b.must(t, "sh", "-c", "FRAMEKEEPER_LOG_FILE="+name+".log framekeeper-client "+args)
		if got, want := b.listing(t, name+"-client.log"), "-rw-r----- framekeeper:framekeeper "+name+"-client.log"; got != want {
			t.Errorf("sudo framekeeper-client %s: its log is %q, want %q", args, got, want)
		}
	}
	b.must(t, "framekeeper-client", "request", "-o", "/root/out.jpg")
}

// endsOnce ends an agent as the kernel does when the controller is killed: its
// signal comes again and again. The agent must end in order all the same.
func endsOnce(t *testing.T, b *box) {
	t.Helper()
	status := b.must(t, "sh", "-c", `setpriv --reuid framekeeper --regid framekeeper --init-groups framekeeper-cam-agent 2>/tmp/agent-log &
agent=$!
until grep -qs 'Connected to Redis' /tmp/agent-log; do sleep 0.02; done
i=0
while [ $i -lt 20000 ]; do kill -TERM $agent 2>/dev/null; i=$((i + 1)); done
wait $agent
echo $?`)
	if status != "0" {
		t.Errorf("asked to end many times at once, the agent ended with %s, want 0:\n%s", status, b.must(t, "cat", "/tmp/agent-log"))
	}
}

func recoverRefuses(t *testing.T, b *box) {
	t.Helper()
	for arg, want := range map[string]string{
		"":                         "got ''",
		"now":                      "expected reboot, or usb-HUB-portN",
		"usb-1-1-port2;id":         "expected reboot",
		"usb-../../1-1-port2":      "expected reboot",
		"usb-1-1-port2\nreboot":    "expected reboot",
		"reboot ":                  "expected reboot",
		"usb-1-1.-port2":           "expected reboot",
		"usb-99-1.4.2-port7":       "there is no USB hub 99-1.4.2 here",
		"usb-usb99-port1":          "there is no USB hub usb99 here",
		"$(reboot)":                "expected reboot",
		"usb-1-1-port2/../../../x": "expected reboot",
	} {
		if out, err := b.try(t, "/usr/lib/framekeeper/recover", arg); err == nil || !strings.Contains(out, want) {
			t.Errorf("recover %q: got %v and %q, want a refusal with %q", arg, err, out, want)
		}
	}
	if out, err := b.try(t, "/usr/lib/framekeeper/recover"); err == nil || !strings.Contains(out, "got 0 arguments") {
		t.Errorf("recover without an argument: got %v and %q", err, out)
	}
}
