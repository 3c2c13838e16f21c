package mjpeg

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// both is a pipe and a socket, each with its two ends.
func both(t *testing.T) map[string]func() (io.ReadCloser, io.WriteCloser) {
	t.Helper()
	return map[string]func() (io.ReadCloser, io.WriteCloser){
		"pipe": func() (io.ReadCloser, io.WriteCloser) {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			return r, w
		},
		"socket": func() (io.ReadCloser, io.WriteCloser) {
			l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // at once or never
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = l.Close() }()
			w, err := net.Dial("tcp", l.Addr().String()) //nolint:noctx // the listener is there
			if err != nil {
				t.Fatal(err)
			}
			r, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			return r, w
		},
	}
}

// TestArrivals: bytes that were waited for arrived when they came; bytes that
// had been waiting count from when nothing had been, even if more than one
// read is needed for them.
func TestArrivals(t *testing.T) {
	for name, open := range both(t) {
		t.Run(name, func(t *testing.T) {
			r, w := open()
			defer func() { _, _ = r.Close(), w.Close() }()
			in, err := newTimedReader(r.(syscall.Conn))
			if err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, 8)
			read := func(want string) {
				t.Helper()
				n, err := in.Read(buf)
				if err != nil || string(buf[:n]) != want {
					t.Fatalf("read %q, %v; want %q", buf[:n], err, want)
				}
			}
			send := func(s string) {
				t.Helper()
				if _, err := io.WriteString(w, s); err != nil {
					t.Fatal(err)
				}
			}

			waiting, sent := make(chan struct{}), make(chan time.Time, 1)
			go func() {
				<-waiting
				sent <- time.Now()
				_, _ = io.WriteString(w, "one")
			}()
			tries := 0
			try := in.try
			in.try = func(fd uintptr) bool { // the first attempt finds nothing
				if tries++; tries == 1 {
					close(waiting)
					in.tries++
					return false
				}
				return try(fd)
			}
			read("one")
			in.try = try
			if at := <-sent; in.arrived().Before(at) {
				t.Error("bytes that were waited for arrived before they were sent")
			}

			between := time.Now()
			send("twothree and four")
			for time.Since(between) < time.Millisecond {
				runtime.Gosched()
			}
			read("twothree")
			first := in.arrived()
			if !first.Before(between) {
				t.Error("bytes that had been waiting are taken for new")
			}
			read(" and fou")
			read("r")
			if !in.arrived().Equal(first) {
				t.Error("what had been waiting behind them is taken for newer")
			}

			_ = w.Close()
			if _, err := in.Read(buf); !errors.Is(err, io.EOF) {
				t.Errorf("at the end: %v", err)
			}
			_ = r.Close()
			if _, err := in.Read(buf); err == nil || errors.Is(err, io.EOF) {
				t.Errorf("after Close: %v", err)
			}
		})
	}
}
