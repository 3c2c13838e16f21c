package images

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"framekeeper/internal/bytesize"
)

func TestBytesBoundHoldsForAllCameras(t *testing.T) {
	dir := t.TempDir()
	c := testConfig(dir)
	s := mustOpen(t, c)
	image := make([]byte, 100<<10) // ten of them fit
	for seq := range uint64(30) {
		mustSave(t, s, mustMessage(t, testHeader(fmt.Sprintf("cam%d", seq%2), seq), image))
		if held := s.index.bytes; held > int64(c.MaxBytes) {
			t.Fatalf("after %d images: %d bytes kept, limit %d", seq, held, c.MaxBytes)
		}
	}
	var want []string
	for _, cam := range []int{0, 1} {
		for seq := 20; seq < 30; seq++ {
			if seq%2 == cam {
				want = append(want, fmt.Sprintf("cam%d/20260131T081500.%06dZ_7-%d.jpg", cam, 123456+seq, seq))
			}
		}
	}
	wantTree(t, dir, want...)
	if _, stored, err := s.Save(mustMessage(t, testHeader("cam0", 99), make([]byte, 2<<20))); stored || !errors.Is(err, ErrTooLarge) {
		t.Errorf("an image above the limit: got %v, %v, want ErrTooLarge", stored, err)
	}
	wantTree(t, dir, want...)
}

func TestBoundHoldsAtOpenToo(t *testing.T) {
	dir := t.TempDir()
	c := testConfig(dir)
	c.MaxBytes = 2 * bytesize.MiB
	s := mustOpen(t, c)
	for seq := range uint64(4) {
		path := mustSave(t, s, mustMessage(t, testHeader("greencam1", seq), make([]byte, 500<<10)))
		at := time.Now().Add(time.Duration(seq) * time.Second) // the order of storing, not that of capture
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	foreign := filepath.Join(dir, "greencam1", "holiday.jpg")
	if err := os.WriteFile(foreign, make([]byte, 3<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	c.MaxBytes = bytesize.MiB
	mustOpen(t, c)
	wantTree(t, dir, "greencam1/20260131T081500.123458Z_7-2.jpg", "greencam1/20260131T081500.123459Z_7-3.jpg", "greencam1/holiday.jpg")
}

func TestAgeBound(t *testing.T) {
	dir := t.TempDir()
	c := testConfig(dir)
	c.MaxAge = time.Hour
	now := time.Now()
	s, err := open(c, zerolog.Nop(), func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	old := testHeader("greencam1", 1)
	old.CapturedUS = 0 // a camera box that thinks it is 1970 loses nothing
	mustSave(t, s, mustMessage(t, old, []byte("x")))
	now = now.Add(time.Hour)
	mustSave(t, s, mustMessage(t, testHeader("greencam1", 2), []byte("x")))
	wantTree(t, dir, "greencam1/19700101T000000.000000Z_7-1.jpg", "greencam1/20260131T081500.123458Z_7-2.jpg")
	now = now.Add(time.Minute)
	mustSave(t, s, mustMessage(t, testHeader("greencam1", 3), []byte("x")))
	wantTree(t, dir, "greencam1/20260131T081500.123458Z_7-2.jpg", "greencam1/20260131T081500.123459Z_7-3.jpg")
	now = now.Add(2 * time.Hour)
	s.Sweep()
	wantTree(t, dir)
	if n, size := s.index.len(), s.index.bytes; n != 0 || size != 0 {
		t.Errorf("%d images of %d bytes kept, want none", n, size)
	}
}

func TestDeletionsAreLoggedOncePerBurst(t *testing.T) {
	var out bytes.Buffer
	now := time.Now()
	s, err := open(testConfig(t.TempDir()), zerolog.New(&out), func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	image := make([]byte, 300<<10)
	for seq := range uint64(50) {
		now = now.Add(time.Second)
		mustSave(t, s, mustMessage(t, testHeader("greencam1", seq), image))
	}
	if got := strings.Count(out.String(), "\n"); got != 1 {
		t.Errorf("lines during the burst: got %d, want 1:\n%s", got, &out)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); !strings.Contains(got, `"deleted":47`) {
		t.Errorf("log after Close: want deleted 47, got:\n%s", got)
	}
}

func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=512k"); err != nil {
		t.Skipf("a small file system cannot be mounted here: %v", err)
	}
	defer func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	}()
	s, err := Open(testConfig(dir), zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	first := mustSave(t, s, mustMessage(t, testHeader("greencam1", 1), make([]byte, 300<<10)))
	m := mustMessage(t, testHeader("greencam1", 2), make([]byte, 300<<10))
	path, stored, err := s.Save(m)
	if stored || !errors.Is(err, ErrDiskFull) || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("Save on a full disk = %q, %v, %v, want ErrDiskFull", path, stored, err)
	}
	wantTree(t, dir, "greencam1/20260131T081500.123457Z_7-1.jpg") // and nothing half-written
	if held := s.index.bytes; held != 300<<10 {
		t.Errorf("%d bytes kept, want %d", held, 300<<10)
	}
	if err := os.Remove(first); err != nil {
		t.Fatal(err)
	}
	mustSave(t, s, m)
}

// A machine without a battery stores images in 1970 and learns the time later.
func TestImagesOfAClockNeverSetAreNotOld(t *testing.T) {
	dir := t.TempDir()
	c := testConfig(dir)
	s := mustOpen(t, c)
	path := mustSave(t, s, mustMessage(t, testHeader("greencam1", 1), []byte("image")))
	if err := os.Chtimes(path, time.Unix(100, 0), time.Unix(100, 0)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, c)
	s.Sweep()
	if n := s.index.len(); n != 1 {
		t.Errorf("%d images kept, want the one", n)
	}
}

// After a start in 1970 the images of the right time before it are the older
// ones all the same.
func TestStartInThePastKeepsTheNewestImages(t *testing.T) {
	dir := t.TempDir()
	c := testConfig(dir)
	s := mustOpen(t, c)
	before, after := testHeader("greencam1", 1), testHeader("greencam1", 2)
	before.ID.Epoch, after.ID.Epoch = 1795593600, 1795593601
	after.CapturedUS = 10e6
	mustSave(t, s, mustMessage(t, before, make([]byte, 600<<10)))
	mustSave(t, s, mustMessage(t, after, make([]byte, 300<<10)))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := open(c, zerolog.Nop(), func() time.Time { return time.Unix(20, 0) })
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	mustSave(t, s, mustMessage(t, testHeader("greencam1", 3), make([]byte, 300<<10)))
	wantTree(t, dir, "greencam1/19700101T000010.000000Z_1795593601-2.jpg", "greencam1/20260131T081500.123459Z_7-3.jpg")
}
