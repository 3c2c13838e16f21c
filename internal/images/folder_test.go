package images

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"framekeeper/pkg/frame"
)

// A Folder shows what a Store has stored, and opens nothing else, wherever names and
// links point.
func TestFolder(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "images")
	s := mustOpen(t, testConfig(dir))
	mustSave(t, s, mustMessage(t, testHeader("greencam1", 1), []byte("one")))
	mustSave(t, s, mustMessage(t, testHeader("greencam1", 2), []byte("two")))
	secret := filepath.Join(parent, "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	cam := filepath.Join(dir, "greencam1")
	for _, err := range []error{
		os.Symlink(secret, filepath.Join(cam, "20260131T081500.123459Z_7-3.jpg")),
		os.Symlink(parent, filepath.Join(dir, "outside")),
		syscall.Mkfifo(filepath.Join(cam, "20260131T081500.123460Z_7-4.jpg"), 0o600),
		os.WriteFile(filepath.Join(parent, "20260131T081500.123460Z_7-5.jpg"), []byte("secret"), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	f, err := OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if names, err := f.Cameras(); err != nil || len(names) != 1 || names[0] != "greencam1" {
		t.Errorf("cameras: got %q, %v", names, err)
	}
	all, err := f.Files("greencam1")
	if err != nil || len(all) != 2 || all[0].ID != (frame.ID{Epoch: 7, Seq: 2}) || all[0].Encoding != frame.JPEG {
		t.Fatalf("files: got %+v, %v", all, err)
	}
	if b, file, err := f.Read("greencam1", all[1].Name); err != nil || string(b) != "one" || file != all[1] || f.Size("greencam1", file.Name) != 3 {
		t.Errorf("read: got %q, %+v, %v", b, file, err)
	}
	for _, c := range [][2]string{
		{"greencam1", "20260131T081500.123459Z_7-3.jpg"}, {"greencam1", "20260131T081500.123460Z_7-4.jpg"},
		{"outside", "20260131T081500.123460Z_7-5.jpg"}, {"..", "20260131T081500.123460Z_7-5.jpg"}, {".", "20260131T081500.123460Z_7-5.jpg"},
		{"greencam1", "../../secret"}, {"greencam1", "lock"}, {"greencam1", "20260131T081500.123460Z_7-9.jpg"}, {"greencam1/..", all[0].Name}, {"", all[0].Name},
	} {
		if b, _, err := f.Read(c[0], c[1]); err == nil {
			t.Errorf("%q: got %q", c, b)
		}
	}
	for _, name := range []string{"outside", "..", "", "/etc", "nocam"} {
		if all, err := f.Files(name); err == nil {
			t.Errorf("files of %q: got %+v", name, all)
		}
	}
	if _, err := OpenFolder(filepath.Join(parent, "nowhere")); err == nil {
		t.Error("a folder that is not there: got no error")
	}
	if _, err := f.Files("nocam"); !errors.Is(err, ErrNoImage) {
		t.Errorf("no camera: got %v", err)
	}
}

// Pixels takes apart what BMP has made, and nothing else.
func TestPixels(t *testing.T) {
	for _, size := range [][2]int{{1, 1}, {3, 2}, {4, 5}} {
		h := frame.Header{PixelFormat: frame.PixelBGR24, Width: size[0], Height: size[1]}
		want := make([]byte, size[0]*size[1]*3)
		for i := range want {
			want[i] = byte(i)
		}
		bmp, err := BMP(&h, want)
		if err != nil {
			t.Fatal(err)
		}
		w, height, got, err := Pixels(bmp)
		if err != nil || w != size[0] || height != size[1] || !bytes.Equal(got, want) {
			t.Errorf("%v: got %dx%d, %v, %v", size, w, height, got, err)
		}
		for n := range bmp {
			if _, _, _, err := Pixels(bmp[:n]); err == nil {
				t.Errorf("%v cut off after %d bytes: got no error", size, n)
			}
		}
	}
}
