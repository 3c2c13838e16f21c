package box

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"framekeeper/internal/status"
	"framekeeper/internal/testkit/proctest"
	"framekeeper/internal/testkit/redistest"
)

// patience is how long a condition may take on a busy machine.
const patience = 2 * time.Minute

// box is one box: a directory with its configuration, state and images.
type box struct {
	*testing.T
	dir    string
	config string
	http   string
}

// newBox makes a box whose configuration is text, in which DIR stands for the
// box's own directory and HTTP for a free address.
func newBox(t *testing.T, text string) *box {
	t.Helper()
	if err := redistest.Available(); err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	b := &box{T: t, dir: dir, config: filepath.Join(dir, "config.toml"), http: redistest.FreeAddr(t)}
	b.write(text)
	return b
}

func (b *box) write(text string) {
	b.Helper()
	text = strings.NewReplacer("DIR", b.dir, "HTTP", b.http).Replace(text)
	if err := os.WriteFile(b.config, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
}

func (b *box) path(elem ...string) string { return filepath.Join(append([]string{b.dir}, elem...)...) }

// program is one running process with what it has written.
type program struct {
	t    *testing.T
	name string
	pid  int
	out  output
	done chan struct{}
	err  error // valid once done is closed
}

type output struct{ proctest.Output }

// start begins one of the programs. It dies with the test.
func (b *box) start(name string, args ...string) *program {
	b.Helper()
	return b.spawn(filepath.Join(os.Getenv(binVariable), name), append(args, "--config", b.config)...)
}

// spawn begins any program.
func (b *box) spawn(path string, args ...string) *program {
	b.Helper()
	name := filepath.Base(path)
	p := &program{t: b.T, name: name, done: make(chan struct{})}
	cmd := exec.Command(path, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = b.dir, &p.out, &p.out
	cmd.WaitDelay = 10 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error, 1)
	go func() {
		defer close(p.done)
		runtime.LockOSThread() // the kernel sends the death signal when the forking thread ends
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		if err == nil {
			p.pid = cmd.Process.Pid
		}
		started <- err
		if err == nil {
			p.err = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		p.end(syscall.SIGTERM)
		if b.Failed() {
			text := p.out.String()
			b.Logf("%s %v said:\n%s", name, args, text[max(0, len(text)-6000):])
		}
	})
	return p
}

func (p *program) signal(s syscall.Signal) {
	select {
	case <-p.done:
	default:
		_ = syscall.Kill(p.pid, s)
	}
}

// end sends a signal and returns when the process is gone.
func (p *program) end(s syscall.Signal) error {
	p.signal(s)
	select {
	case <-p.done:
	case <-time.After(15 * time.Second):
		p.t.Errorf("%s is still there 15 s after %s", p.name, s)
		p.signal(syscall.SIGKILL)
		<-p.done
	}
	return p.err
}

// finish waits for a process to end by itself.
func (p *program) finish() error {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		p.t.Fatalf("%s has not ended", p.name)
	}
	return p.err
}

func (b *box) await(what string, ok func() bool) {
	b.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			b.Fatalf("waited %v in vain for %s", patience, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// get asks the controller's HTTP.
func (b *box) get(path, user, password string) (int, string, error) {
	ctx, cancel := context.WithTimeout(b.Context(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+b.http+path, nil)
	if err != nil {
		return 0, "", err
	}
	if user != "" {
		req.SetBasicAuth(user, password)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}

// health is /readyz; not OK when there is none.
func (b *box) health() (h status.Ready) {
	if _, body, err := b.get("/readyz", "", ""); err == nil {
		_ = json.Unmarshal([]byte(body), &h) // a zero Health is none
	}
	return h
}

func (b *box) awaitHealthy() status.Ready {
	b.Helper()
	var h status.Ready
	b.await("a healthy box", func() bool { h = b.health(); return h.OK })
	return h
}

// images counts what the client has stored of a camera.
func (b *box) images(camera string) int {
	files, err := filepath.Glob(b.path("images", camera, "*.jpg"))
	if err != nil {
		b.Fatal(err)
	}
	return len(files)
}

// awaitFrames waits for so many new images of every camera.
func (b *box) awaitFrames(n int, cameras ...string) {
	b.Helper()
	for _, c := range cameras {
		before := b.images(c)
		b.await(fmt.Sprintf("%d new images of %s", n, c), func() bool { return b.images(c) >= before+n })
	}
}

// summaryOf is one figure of all cameras in a client's summary.
func (p *program) summaryOf(row string) string {
	for line := range strings.Lines(p.out.String()) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), row+" "); ok {
			fields := strings.Fields(rest)
			if len(fields) > 0 {
				return fields[len(fields)-1]
			}
		}
	}
	return "(no " + row + ")"
}

// alive reports whether a process is there and no zombie.
func alive(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	return !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}

func exitCode(err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	if err != nil {
		return -1
	}
	return 0
}
