package client

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"framekeeper/pkg/frame"
)

func jpegMessage(t *testing.T, e frame.Encoding) *frame.Message {
	t.Helper()
	m, err := frame.NewMessage(frame.Header{Status: frame.StatusOK, Encoding: e, Width: 1, Height: 1}, []byte("image"))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestOutputKeepsSymlinks(t *testing.T) {
	dir := t.TempDir()
	m := jpegMessage(t, frame.JPEG)
	real := filepath.Join(dir, "sub", "real.jpg")
	link, chain := filepath.Join(dir, "link.jpg"), filepath.Join(dir, "chain.jpg")
	if err := os.Mkdir(filepath.Dir(real), 0o755); err != nil {
		t.Fatal(err)
	}
	_ = os.Symlink("sub/real.jpg", link)
	_ = os.Symlink(link, chain)
	for _, what := range []string{"dangling", "existing"} {
		if err := writeImage(chain, m, nil); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		for _, l := range []string{link, chain} {
			if info, err := os.Lstat(l); err != nil || info.Mode()&os.ModeSymlink == 0 {
				t.Errorf("%s: %s is no link any more: %v, %v", what, l, info, err)
			}
		}
		info, err := os.Lstat(real)
		if got, _ := os.ReadFile(real); err != nil || !info.Mode().IsRegular() || string(got) != "image" {
			t.Errorf("%s: target: got %q, %v, want the image in a regular file", what, got, err)
		}
		if err := os.WriteFile(real, []byte("a longer text from before"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	loop := filepath.Join(dir, "loop.jpg")
	_ = os.Symlink(loop, loop)
	if err := writeImage(loop, m, nil); err == nil {
		t.Error("a link to itself: got no error")
	}
	if err := writeImage(filepath.Dir(real), m, nil); err == nil {
		t.Error("a directory: got no error")
	}
}

func TestOutputWritesIntoDevicesAndPipes(t *testing.T) {
	dir := t.TempDir()
	m := jpegMessage(t, frame.JPEG)
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := os.OpenFile(fifo, os.O_RDWR, 0) // so that neither end waits for the other
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	if err := writeImage(fifo, m, nil); err != nil {
		t.Errorf("fifo: %v", err)
	}
	got := make([]byte, 5)
	info, lerr := os.Lstat(fifo)
	if lerr != nil || info.Mode()&os.ModeNamedPipe == 0 {
		t.Fatalf("fifo: got %v, %v, want it still a pipe", info, lerr)
	}
	if _, err := io.ReadFull(r, got); err != nil || string(got) != "image" {
		t.Errorf("fifo: got %q, %v, want the image", got, err)
	}
	null := filepath.Join(dir, "null") // a link first: were it wrong, /dev/null would live on
	_ = os.Symlink("/dev/null", null)
	path, special, err := target(null)
	if path != "/dev/null" || !special || err != nil {
		t.Fatalf("target: got %s, %v, %v, want /dev/null, special", path, special, err)
	}
	for _, name := range []string{null, "/dev/null"} {
		err := writeImage(name, m, nil)
		if info, serr := os.Lstat("/dev/null"); err != nil || serr != nil || info.Mode()&os.ModeCharDevice == 0 {
			t.Fatalf("%s: got %v, then %v, %v, want a device", name, err, info, serr)
		}
	}
	if err := writeImage("/dev/no-such-image.jpg", m, nil); err == nil {
		t.Error("a new file in /dev: got no error")
	}
	if left, _ := filepath.Glob("/dev/*no-such-image*"); len(left) != 0 {
		t.Errorf("left in /dev: %v", left)
	}
}

func TestOutputNameFitsTheEncoding(t *testing.T) {
	for _, c := range []struct {
		name string
		e    frame.Encoding
		ok   bool
	}{
		{"a.png", frame.JPEG, false}, {"a.bmp", frame.JPEG, false}, {"a.JPG", frame.JPEG, true}, {"a.jpeg", frame.JPEG, true},
		{"a.jpg", frame.PNG, false}, {"a.PNG", frame.PNG, true}, {"a.bin", frame.PNG, true}, {"a", frame.JPEG, true},
	} {
		path := filepath.Join(t.TempDir(), c.name)
		err := writeImage(path, jpegMessage(t, c.e), nil)
		if _, serr := os.Stat(path); (err == nil) != c.ok || (serr == nil) != c.ok {
			t.Errorf("%s as %s: got %v, file %v, want accepted %v", c.e, c.name, err, serr, c.ok)
		}
	}
}

func TestRequestRefusesTheNameBeforeAsking(t *testing.T) {
	b := newBench(t, "stream", "greencam1")
	a := startAgent(t, b.redis, "greencam1", "stream")
	wantFailure(t, b, []string{"sends jpeg", ".jpg", "x.png"}, "request", "-o", filepath.Join(t.TempDir(), "x.png"))
	a.with(func() {
		if len(a.asked) != 0 {
			t.Errorf("requests: got %d, want none", len(a.asked))
		}
	})
}
