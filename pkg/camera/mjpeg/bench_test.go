package mjpeg

import (
	"bytes"
	"context"
	"io"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"framekeeper/pkg/camera"
)

// cpu is what this process has used of it. Programs it started do not count.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// like160KB is a JPEG of the size and density a camera gives at 1280x720.
func like160KB(b *testing.B) []byte {
	b.Helper()
	j := picture(b, 1, 1280, 720)
	if len(j) < 160_000 {
		b.Fatalf("a JPEG of %d bytes", len(j))
	}
	short := append(bytes.Clone(j[:160_000-2]), 0xff, 0xd9)
	if short[len(short)-3] == 0xff {
		short[len(short)-3] = 0
	}
	return short
}

// endlessly is a command that writes the JPEG over and over.
func endlessly(b *testing.B, jpeg []byte) string {
	b.Helper()
	path := file(b, bytes.Repeat(jpeg, 64))
	return "while cat " + path + "; do :; done"
}

// BenchmarkExec is the CPU time this process needs for a JPEG of 160 KB from
// the pipe into a Frame, against reading and forgetting the same bytes.
func BenchmarkExec(b *testing.B) {
	const inARow = 100
	jpeg := like160KB(b)
	script := endlessly(b, jpeg)
	src, err := Open(b.Context(), config("exec:sh -c '"+script+"'"))
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	bare := exec.CommandContext(ctx, "sh", "-c", script)
	bare.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	bare.Cancel = func() error { return syscall.Kill(-bare.Process.Pid, syscall.SIGKILL) }
	out, err := bare.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := bare.Start(); err != nil {
		b.Fatal(err)
	}
	var took, floor time.Duration
	var f camera.Frame
	buf := make([]byte, readSize)
	for b.Loop() {
		began := cpu(b)
		for range inARow {
			if err := src.Next(b.Context(), &f); err != nil || len(f.Data) != len(jpeg) {
				b.Fatalf("%d bytes, %v", len(f.Data), err)
			}
		}
		between := cpu(b)
		if _, err := io.CopyBuffer(writer{}, io.LimitReader(out, int64(inARow*len(jpeg))), buf); err != nil {
			b.Fatal(err)
		}
		took, floor = took+between-began, floor+cpu(b)-between
	}
	cancel()
	_ = bare.Wait()
	if err := src.Close(); err != nil {
		b.Fatal(err)
	}
	if !bytes.Equal(f.Data, jpeg) {
		b.Fatal("not the JPEG")
	}
	n := float64(b.N * inARow)
	b.ReportMetric(float64(took.Microseconds())/n, "µs-CPU/frame")
	b.ReportMetric(float64(floor.Microseconds())/n, "µs-CPU/frame-floor")
	b.ReportMetric(float64(took)/float64(floor), "ratio")
	b.ReportMetric(0, "ns/op") // of both together: says nothing
}

// writer forgets, and hides how io.Discard would read.
type writer struct{}

func (writer) Write(p []byte) (int, error) { return len(p), nil }

// BenchmarkSplitter is the searching and copying alone.
func BenchmarkSplitter(b *testing.B) {
	jpeg := like160KB(b)
	r := &loop{data: jpeg}
	s := NewSplitter(r, nil)
	var buf []byte
	b.SetBytes(int64(len(jpeg)))
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if buf, _, err = s.Next(buf); err != nil {
			b.Fatal(err)
		}
	}
}

// loop reads the same bytes over and over.
type loop struct {
	data []byte
	at   int
}

func (l *loop) Read(p []byte) (int, error) {
	n := copy(p, l.data[l.at:])
	l.at = (l.at + n) % len(l.data)
	return n, nil
}

// TestExecAllocatesNothing: with frames of one size the same buffers serve.
func TestExecAllocatesNothing(t *testing.T) {
	path := file(t, bytes.Repeat(picture(t, 1, 320, 240), 16))
	src := mustOpen(t, "exec:sh -c 'while cat "+path+"; do :; done'")
	var f camera.Frame
	if n := testing.AllocsPerRun(200, func() {
		if err := src.Next(t.Context(), &f); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Fatalf("%v allocations a frame, want 0", n)
	}
}
