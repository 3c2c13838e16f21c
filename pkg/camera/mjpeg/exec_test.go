package mjpeg

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image/jpeg"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"framekeeper/internal/testkit"
	"framekeeper/pkg/camera"
)

func config(source string) camera.Config {
	c := camera.Default()
	c.Name, c.Source = "cam", source
	return c
}

// mustOpen opens the source and closes it with the test.
func mustOpen(t testing.TB, source string) camera.Source {
	t.Helper()
	src, err := Open(t.Context(), config(source))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = src.Close() })
	return src
}

// file holds JPEGs one after the other.
func file(t testing.TB, parts ...[]byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "frames.mjpeg")
	if err := os.WriteFile(path, bytes.Join(parts, nil), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// alive reports whether there is such a process, zombies not counted.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := bytes.Cut(stat, []byte(") "))
	return !bytes.HasPrefix(rest, []byte("Z"))
}

// pidIn reads the pid a command wrote to a file.
func pidIn(t *testing.T, path string) int {
	t.Helper()
	pid := 0
	testkit.Eventually(t, "there is a pid in "+path, func() bool {
		text, _ := os.ReadFile(path)
		n, err := strconv.Atoi(strings.TrimSpace(string(text)))
		pid = n
		return err == nil && strings.HasSuffix(string(text), "\n")
	})
	return pid
}

// TestExecPassesThrough: what goes in comes out, byte for byte, and then how
// the command ended.
func TestExecPassesThrough(t *testing.T) {
	want := [][]byte{picture(t, 1, 640, 480), thumbnailed(picture(t, 2, 320, 240), picture(t, 3, 16, 16)), picture(t, 4, 16, 16)}
	path := file(t, want[0], want[1], want[0][:1000], want[2])
	src := mustOpen(t, "exec:sh -c 'cat "+path+"; echo the last word >&2; exit 3'")
	if i := src.Info(); i.Width != 640 || i.Height != 480 || i.Format != camera.MJPEG || i.Driver != "exec sh" || i.FPS != 0 || i.Latency != time.Second/30 {
		t.Errorf("Info is %+v", i)
	}
	var f camera.Frame
	seqs := []uint64{1, 2, 4}
	for n, data := range want {
		if err := src.Next(t.Context(), &f); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(f.Data, data) || f.Seq != seqs[n] || f.Format != camera.MJPEG || time.Since(f.Captured) > time.Minute {
			t.Fatalf("frame %d: %d bytes, want %d; seq %d, want %d; %v", n, len(f.Data), len(data), f.Seq, seqs[n], f.Captured)
		}
	}
	if f.Width != 16 || f.Height != 16 {
		t.Errorf("the last frame is %dx%d", f.Width, f.Height)
	}
	if d := src.(camera.DefectCounter).Defects(); d.Broken != 1 || !strings.Contains(d.Last, "cut short") {
		t.Errorf("%+v, want the one cut short", d)
	}
	err := src.Next(t.Context(), &f)
	if !errors.Is(err, camera.ErrNoData) || errors.Is(err, io.EOF) ||
		!strings.HasSuffix(err.Error(), "the command has ended (exit status 3): the last word") {
		t.Errorf("at the end: %v", err)
	}
}

func TestExecRefuses(t *testing.T) {
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("no program"), 0o600); err != nil {
		t.Fatal(err)
	}
	for command, want := range map[string]struct {
		kind error
		text string
	}{
		"no-such-program --x y":       {camera.ErrNoDevice, "exec:no-such-program: there is no such program"},
		"/no/such/program":            {camera.ErrNoDevice, "there is no such program"},
		script + " x":                 {camera.ErrNoDevice, "not permitted to run it"},
		"rpicam-vid -o - | tee x":     {camera.ErrNoDevice, "for a shell"},
		"sh -c 'echo no camera >&2'":  {camera.ErrNoData, "ended (exit status 0): no camera"},
		"sh -c 'kill -9 $$'":          {camera.ErrNoData, "ended (signal: killed)"},
		"sh -c 'exec >&-; sleep 100'": {camera.ErrNoData, "has closed its output and goes on"},
		"yes":                         {camera.ErrNoData, "no JPEG in them"},
		"cat /dev/zero":               {camera.ErrNoData, "no JPEG in them"},
		"password=hunter2":            {camera.ErrNoDevice, "no such program"},
	} {
		src, err := Open(t.Context(), config("exec:"+command))
		if err == nil {
			_ = src.Close()
		}
		if !errors.Is(err, want.kind) || !strings.Contains(fmt.Sprint(err), want.text) || strings.Contains(fmt.Sprint(err), "hunter2") {
			t.Errorf("%s: got %v, want %v and %q", command, err, want.kind, want.text)
		}
	}
}

// stubborn ignores SIGTERM and has a grandchild that does; their pids are in
// files.
const stubborn = `exec:sh -c 'trap "" TERM; sh -c "trap \"\" TERM; echo \$\$ >%[1]s/grandchild; sleep 100 & wait" & echo $$ >%[1]s/child; cat %[2]s; wait'`

// TestExecLeavesNothingBehind: Close and the end of a context end the command
// and what it started, whatever state they are in.
func TestExecLeavesNothingBehind(t *testing.T) {
	jpg := file(t, picture(t, 1, 64, 64), picture(t, 2, 64, 64))
	for name, end := range map[string]func(cancel func(), src camera.Source, child int){
		"closed":               func(_ func(), src camera.Source, _ int) { _ = src.Close() },
		"the context ends":     func(cancel func(), _ camera.Source, _ int) { cancel() },
		"stopped, then closed": func(_ func(), src camera.Source, c int) { _ = syscall.Kill(c, syscall.SIGSTOP); _ = src.Close() },
		"killed":               func(_ func(), _ camera.Source, c int) { _ = syscall.Kill(c, syscall.SIGKILL) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			src := mustOpen(t, fmt.Sprintf(stubborn, dir, jpg))
			child, grandchild := pidIn(t, dir+"/child"), pidIn(t, dir+"/grandchild")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var f camera.Frame
			for range 2 {
				if err := src.Next(ctx, &f); err != nil {
					t.Fatal(err)
				}
			}
			if !alive(child) || !alive(grandchild) {
				t.Fatal("not both alive before")
			}
			go end(cancel, src, child)
			err := src.Next(ctx, &f) // is waiting, or soon will be
			switch name {
			case "the context ends":
				if !errors.Is(err, context.Canceled) {
					t.Errorf("Next gave %v", err)
				}
				testkit.Eventually(t, "both are gone without Close", func() bool { return !alive(child) && !alive(grandchild) })
			case "killed":
				if !errors.Is(err, camera.ErrNoData) || !strings.Contains(err.Error(), "signal: killed") {
					t.Errorf("Next gave %v", err)
				}
			default:
				if !errors.Is(err, camera.ErrClosed) {
					t.Errorf("Next gave %v", err)
				}
			}
			if err := src.Close(); err != nil {
				t.Error(err)
			}
			testkit.Eventually(t, "both are gone", func() bool { return !alive(child) && !alive(grandchild) })
			if err := src.Next(ctx, &f); err == nil {
				t.Error("Next after Close gave a frame")
			}
		})
	}
}

// TestExecOpenIsInterrupted: a command that gives nothing does not hold Open.
func TestExecOpenIsInterrupted(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	opened := make(chan error, 1)
	go func() {
		_, err := Open(ctx, config("exec:sh -c 'echo $$ >"+dir+"/child; exec sleep 100'"))
		opened <- err
	}()
	pid := pidIn(t, dir+"/child")
	cancel()
	if err := <-opened; !errors.Is(err, context.Canceled) {
		t.Errorf("Open gave %v", err)
	}
	if alive(pid) {
		t.Error("the command is still alive")
	}
}

// TestExecReportsWhatCame: a command that runs and gives nothing of use is stopped,
// and what it gave is in the error.
func TestExecReportsWhatCame(t *testing.T) {
	t.Parallel()
	cut := file(t, picture(t, 1, 64, 48))
	for command, want := range map[string]string{
		"exec sleep 100":                     "the command runs, but nothing comes",
		"echo no sensor >&2; exec sleep 100": "but nothing comes; stderr: no sensor",
		"printf h264; exec sleep 100":        "but 4 bytes came, and no JPEG in them",
		"head -c 99 " + cut + "; echo; head -c 99 " + cut + "; exec sleep 100": "199 bytes came, in them 1 times the beginning of a JPEG and no whole one",
		`printf "\\377\\330\\377"; exec sleep 100`:                             "but 3 bytes came, and the JPEG in them does not end",
	} {
		t.Run(command, func(t *testing.T) {
			t.Parallel() // each waits for as long as a busy machine may need to start it
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			_, err := Open(ctx, config("exec:sh -c '"+command+"'"))
			var symptom camera.Symptom
			if !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &symptom) || !strings.Contains(string(symptom), want) {
				t.Errorf("got %v, want %q", err, want)
			}
		})
	}
}

// TestExecWithoutTables: a camera without Huffman tables gets the standard
// ones, which are those of image/jpeg.
func TestExecWithoutTables(t *testing.T) {
	whole := picture(t, 1, 64, 64)
	at := bytes.Index(whole, []byte{0xff, 0xc4})
	size := 2 + int(whole[at+2])<<8 + int(whole[at+3])
	bare := append(bytes.Clone(whole[:at]), whole[at+size:]...)
	src := mustOpen(t, "exec:cat "+file(t, bare, whole))
	var f camera.Frame
	for range 2 {
		if err := src.Next(t.Context(), &f); err != nil {
			t.Fatal(err)
		}
		m, err := jpeg.Decode(bytes.NewReader(f.Data))
		if err != nil || m.Bounds().Dx() != 64 {
			t.Fatalf("decode it: %v", err)
		}
	}
}

// needs skips the test where a program is not installed.
func needs(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("%s is not installed", program)
	}
}

// TestExecPrograms reads what the README's recipes are made of.
func TestExecPrograms(t *testing.T) {
	for _, command := range []string{
		"ffmpeg -v error -f lavfi -i testsrc=size=320x240:rate=30 -c:v mjpeg -q:v 3 -f mjpeg -",
		"ffmpeg -v error -f lavfi -i testsrc=size=320x240:rate=30 -c:v mjpeg -huffman default -f mpjpeg -",
		"gst-launch-1.0 -q videotestsrc ! video/x-raw,width=320,height=240,framerate=30/1 ! jpegenc ! fdsink",
	} {
		program, _, _ := strings.Cut(command, " ")
		t.Run(program, func(t *testing.T) {
			needs(t, program)
			src := mustOpen(t, "exec:"+command)
			var f camera.Frame
			for n := range uint64(20) {
				if err := src.Next(t.Context(), &f); err != nil {
					t.Fatal(err)
				}
				m, err := jpeg.Decode(bytes.NewReader(f.Data))
				if err != nil || m.Bounds().Dx() != 320 || f.Width != 320 || f.Height != 240 || f.Seq != n+1 {
					t.Fatalf("frame %d: seq %d, %dx%d, %v", n+1, f.Seq, f.Width, f.Height, err)
				}
			}
		})
	}
}
