package redistest

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// doomedProcess runs this test binary in a role and returns its first line.
func doomedProcess(t *testing.T, role string) (*exec.Cmd, string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), doomedRole+"="+role, "REDISTEST_DOOMED_DIR="+t.TempDir())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	t.Cleanup(func() {
		if !ended && cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || strings.HasPrefix(line, "fatal") {
		t.Fatalf("process in role %s said %q, %v", role, line, err)
	}
	return cmd, strings.TrimSpace(line)
}

// gone waits until no live process has the pid. Who reaps an orphan is not our
// business, so a zombie counts as gone.
func gone(pid int) error {
	return await(5*time.Second, func() error {
		if state := procState(pid); state != 0 && state != 'Z' {
			return fmt.Errorf("process %d is still there, state %c", pid, state)
		}
		return nil
	})
}

func TestServerDiesWithItsProcess(t *testing.T) {
	t.Parallel()
	for _, role := range []string{"server", "frozen", "panic"} {
		cmd, line := doomedProcess(t, role)
		var pid int
		if _, err := fmt.Sscan(line, &pid); err != nil {
			t.Fatalf("read pid from %q: %v", line, err)
		}
		if role != "panic" {
			if state := procState(pid); state == 0 || state == 'Z' {
				t.Fatalf("%s: the server is not running before the kill, state %q", role, state)
			}
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
		if err := cmd.Wait(); err == nil {
			t.Errorf("%s: the process ended well, want it killed", role)
		}
		if err := gone(pid); err != nil {
			t.Errorf("%s: %v", role, err)
		}
	}
}

func TestNamespaceOfDeadProcessIsSwept(t *testing.T) {
	needNetHost(t)
	cmd, line := doomedProcess(t, "nethost")
	var pid int
	var name, dev string
	if _, err := fmt.Sscan(line, &pid, &name, &dev); err != nil {
		t.Fatalf("read names from %q: %v", line, err)
	}
	left := func() bool {
		_, err1 := os.Stat(netnsDir + "/" + name)
		_, err2 := net.InterfaceByName(dev)
		return err1 == nil || err2 == nil
	}
	if err := sweep(); err != nil || !left() {
		t.Fatalf("sweep touched a living process's host: error %v, host there %v", err, left())
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed, as it should be
	if err := gone(pid); err != nil {
		t.Error(err)
	}
	if !left() {
		t.Fatal("the dead process left nothing behind; this test shows nothing")
	}
	if err := sweep(); err != nil {
		t.Fatal(err)
	}
	if left() {
		t.Errorf("namespace %s or interface %s is still there after a sweep", name, dev)
	}
}

// The reservation of an address range detects a living owner too, but not one in
// another network namespace: there the name alone has to.
func TestSweepGoesByTheName(t *testing.T) {
	needNetHost(t)
	const n = highestNet + 1 // nobody reserves it
	alive := netnsName(os.Getpid(), n)
	dead := fmt.Sprintf("%s%d-1-%d", netnsPrefix, os.Getpid(), n) // our process ID, used before us
	for _, name := range []string{alive, dead} {
		if err := run("", "ip", "netns", "add", name); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = removeNet(name, devName(n)) })
	}
	if err := sweep(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{alive: true, dead: false} {
		if _, err := os.Stat(netnsDir + "/" + name); (err == nil) != want {
			t.Errorf("after a sweep namespace %s is there: %v, want %v", name, err == nil, want)
		}
	}
}

func TestCleanupLeavesNothing(t *testing.T) {
	t.Parallel()
	tb := &program{dir: t.TempDir()}
	frozen, down, up := Start(tb), Start(tb, WithRDB()), Start(tb, WithAOF("everysec"))
	proxy := NewProxy(tb, up.Addr())
	frozen.Freeze()
	down.Kill()
	down.RestartAsync()
	pids := []int{frozen.Pid(), down.Pid(), up.Pid()}
	addrs := []string{frozen.Addr(), down.Addr(), up.Addr(), proxy.Addr()}
	tb.end()
	for _, pid := range pids {
		if procState(pid) != 0 {
			t.Errorf("process %d is still there, state %c", pid, procState(pid))
		}
	}
	for _, addr := range addrs {
		if c, err := net.Dial("tcp", addr); err == nil {
			_ = c.Close()
			t.Errorf("%s still accepts connections", addr)
		}
	}
}
