package packagetest

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// box is a Debian of its own: processes, mounts, network and control groups are
// apart from this machine's, and end with its first process.
type box struct {
	pid  int
	done chan struct{} // closed when the first process is reaped
	end  string        // how it ended; written before done is closed
}

// start starts a box whose first process is init. The packages are in /mnt.
func start(t *testing.T, init ...string) *box {
	t.Helper()
	lower, scratch := debian(t), t.TempDir()
	if err := os.Symlink(packages(t), filepath.Join(scratch, "packages")); err != nil {
		t.Fatal(err)
	}
	console, err := os.Create(filepath.Join(scratch, "console"))
	if err != nil {
		t.Fatal(err)
	}
	defer console.Close()
	script, err := filepath.Abs("boot.sh")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(script, append([]string{lower, scratch}, init...)...) //nolint:noctx // killed by Cleanup
	cmd.Stdout, cmd.Stderr = console, console
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC | syscall.CLONE_NEWNET,
		Setsid:     true, Pdeathsig: syscall.SIGKILL, UseCgroupFD: true, CgroupFD: controlGroup(t),
	}
	b := &box{done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		defer close(b.done)
		// Pdeathsig comes with the end of the thread that forked.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // killed, or shut down: an error either way
			b.end = cmd.ProcessState.String()
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	b.pid = cmd.Process.Pid
	t.Cleanup(func() {
		_ = syscall.Kill(b.pid, syscall.SIGKILL) // fails if it has ended
		<-b.done
	})
	b.awaitInit(t, filepath.Base(init[0]), console.Name())
	return b
}

// awaitInit waits until the first process is init, with its own root below it.
func (b *box) awaitInit(t *testing.T, init, console string) {
	t.Helper()
	eventually(t, 30*time.Second, "the box's "+init, func() bool {
		select {
		case <-b.done:
			text, _ := os.ReadFile(console)
			t.Fatalf("the box did not start:\n%s", text)
		default:
		}
		exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", b.pid))
		return filepath.Base(exe) == init
	})
}

// controlGroup makes one for the box, which vanishes after it.
func controlGroup(t *testing.T) int {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	var root string
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 2 && f[2] == "cgroup2" {
			root = f[1]
		}
	}
	dir, err := os.MkdirTemp(root, "framekeeper-test-")
	if root == "" || err != nil {
		t.Skipf("needs control groups, version 2, that root may divide: %v", err)
	}
	// Every user may look at control groups.
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	fd, err := syscall.Open(dir, syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Close(fd)
		var dirs []string
		_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		slices.Reverse(dirs)
		for _, d := range dirs {
			eventually(t, 10*time.Second, "the end of "+d, func() bool { return syscall.Rmdir(d) == nil })
		}
	})
	return fd
}

// try runs a command in the box, as root.
func (b *box) try(t *testing.T, args ...string) (string, error) {
	t.Helper()
	enter := []string{"-t", fmt.Sprint(b.pid), "-m", "-p", "-C", "-u", "-i", "-n", "-r", "-w",
		"env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C"}
	return run(t, "nsenter", append(enter, args...)...)
}

// must runs a command that must succeed.
func (b *box) must(t *testing.T, args ...string) string {
	t.Helper()
	out, err := b.try(t, args...)
	if err != nil {
		t.Fatalf("%q: %v\n%s", args, err, out)
	}
	return out
}

// as runs a command as the service's user.
func (b *box) as(t *testing.T, args ...string) (string, error) {
	t.Helper()
	return b.try(t, append([]string{"runuser", "-u", "framekeeper", "--"}, args...)...)
}

// write writes a file in the box.
func (b *box) write(t *testing.T, path, text string) {
	t.Helper()
	b.must(t, "sh", "-c", `mkdir -p "$(dirname "$1")" && printf %s "$2" >"$1"`, "sh", path, text)
}

// frame asks for a frame until one comes, and says how long that took.
func (b *box) frame(t *testing.T) time.Duration {
	t.Helper()
	return eventually(t, 60*time.Second, "a frame", func() bool {
		_, err := b.as(t, "framekeeper-client", "request", "--set", "angle=25", "-o", "/tmp/out.jpg")
		return err == nil
	})
}

// listing is owner and mode of everything below the paths.
func (b *box) listing(t *testing.T, paths ...string) string {
	t.Helper()
	return b.must(t, append([]string{"sh", "-c", `find "$@" -printf '%M %u:%g %p\n' | sort -k 3`, "sh"}, paths...)...)
}
