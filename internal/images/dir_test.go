package images

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"framekeeper/internal/bytesize"
	"framekeeper/pkg/frame"
)

func TestOpenRemovesHalfWrittenFiles(t *testing.T) {
	dir := t.TempDir()
	for path, temp := range map[string]bool{
		"greencam1/.20260131T081500.123457Z_7-1.jpg8123":         true,
		"greencam1/corrupt/.20260131T081500.123457Z_7-1.raw8123": true,
		".state/.greencam1.watermark77":                          true,
		"greencam1/.hidden":                                      false,
		"greencam1/20260131T081500.123457Z_7-9.jpg":              false,
		"Greencam/.20260131T081500.123457Z_7-1.jpg8123":          false, // no camera of ours
	} {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) != temp {
				t.Errorf("%s: got %v, want it gone: %v", path, err, temp)
			}
		}()
	}
	s := mustOpen(t, testConfig(dir))
	if n, bytes := s.index.len(), s.index.bytes; n != 1 || bytes != 4 {
		t.Errorf("kept: got %d files of %d bytes, want 1 file of 4 bytes", n, bytes)
	}
}

// TestNoHalfImageIsEverVisible looks at the directory all the time while
// images larger than one write are stored.
func TestNoHalfImageIsEverVisible(t *testing.T) {
	dir := t.TempDir()
	c := testConfig(dir)
	c.MaxBytes = bytesize.GiB
	s := mustOpen(t, c)
	const size = 2 << 20
	done := make(chan struct{})
	looks := 0
	var watcher sync.WaitGroup
	watcher.Go(func() {
		for {
			files, _ := filepath.Glob(filepath.Join(dir, "greencam1", "[0-9]*"))
			for _, f := range files {
				if info, err := os.Stat(f); err == nil && info.Size() != size {
					t.Errorf("%s is visible with %d of %d bytes", f, info.Size(), size)
				}
			}
			looks++
			select {
			case <-done:
				return
			default:
			}
		}
	})
	for seq := range uint64(20) {
		mustSave(t, s, mustMessage(t, testHeader("greencam1", seq), make([]byte, size)))
	}
	close(done)
	watcher.Wait()
	if looks < 10 {
		t.Errorf("looked only %d times", looks)
	}
}

func TestCamerasSaveConcurrently(t *testing.T) {
	dir := t.TempDir()
	c := testConfig(dir)
	s := mustOpen(t, c)
	image := make([]byte, 50<<10)
	const cameras, frames = 4, 25
	var savers sync.WaitGroup
	var stores atomic.Int64
	for i := range cameras * 2 { // two savers for each camera, both with every frame
		savers.Go(func() {
			for seq := range uint64(frames) {
				m, err := frame.NewMessage(testHeader(fmt.Sprintf("cam%d", i/2), seq), image)
				stored := false
				if err == nil {
					_, stored, err = s.Save(m)
				}
				if stored {
					stores.Add(1)
				}
				if err != nil {
					t.Errorf("Save: %v", err)
				}
			}
		})
	}
	savers.Wait()
	if n := stores.Load(); n < cameras*frames {
		t.Errorf("%d stored, want at least %d", n, cameras*frames)
	}
	var bytes int64
	files := tree(t, dir)
	for _, f := range files {
		info, err := os.Stat(filepath.Join(dir, f))
		if err != nil {
			t.Fatal(err)
		}
		bytes += info.Size()
	}
	if held, size := s.index.len(), s.index.bytes; len(files) != held || bytes != size || bytes > int64(c.MaxBytes) {
		t.Errorf("on disk: %d files, %d bytes; the index says %d, %d; limit %d", len(files), bytes, held, size, c.MaxBytes)
	}
}

func TestOneProcessAtATime(t *testing.T) {
	c := testConfig(t.TempDir())
	s := mustOpen(t, c)
	if second, err := Open(c, zerolog.Nop()); !errors.Is(err, ErrInUse) {
		t.Errorf("second Open: got %v, %v, want ErrInUse", second, err)
	}
	forked, err := unix.Dup(int(s.lock.Fd())) // as a child has it until it runs another program
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(forked) }()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, c)
}

func TestWatermark(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, testConfig(dir))
	if id, ok, err := s.Watermark("greencam1"); ok || err != nil {
		t.Errorf("before any: got %v, %v, %v, want none", id, ok, err)
	}
	mustSave(t, s, mustMessage(t, testHeader("greencam1", 5), []byte("x")))
	want := frame.ID{Epoch: 7, Seq: 5}
	if err := s.SaveWatermark("greencam1", want); err != nil {
		t.Fatalf("SaveWatermark: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, testConfig(dir))
	if id, ok, err := s.Watermark("greencam1"); id != want || !ok || err != nil {
		t.Errorf("after a restart: got %v, %v, %v, want %v", id, ok, err, want)
	}
	path := filepath.Join(dir, stateDir, "greencam1.watermark")
	if err := os.WriteFile(path, []byte("7-"), 0o600); err != nil {
		t.Fatal(err)
	}
	if id, ok, err := s.Watermark("greencam1"); ok || !errors.Is(err, frame.ErrID) {
		t.Errorf("damaged: got %v, %v, %v, want ErrID", id, ok, err)
	}
}

// TestDirectoryRemovedMeanwhile: somebody tidies up while the client runs.
func TestDirectoryRemovedMeanwhile(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, testConfig(dir))
	mustSave(t, s, mustMessage(t, testHeader("greencam1", 1), []byte("x")))
	if err := os.RemoveAll(filepath.Join(dir, "greencam1")); err != nil {
		t.Fatal(err)
	}
	if err := s.SaveWatermark("greencam1", frame.ID{Epoch: 7, Seq: 1}); err != nil {
		t.Errorf("SaveWatermark: %v", err)
	}
	mustSave(t, s, mustMessage(t, testHeader("greencam1", 2), []byte("x")))
	wantTree(t, dir, "greencam1/20260131T081500.123458Z_7-2.jpg")
}
