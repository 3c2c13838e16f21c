package images

import (
	"bytes"
	"errors"
	"image/color"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"framekeeper/internal/bytesize"
	"framekeeper/pkg/frame"
)

// testConfig has room for what most tests store.
func testConfig(dir string) Config {
	c := Default()
	c.Dir = dir
	c.MaxBytes = bytesize.MiB
	return c
}

func mustOpen(t *testing.T, c Config) *Store {
	t.Helper()
	s, err := Open(c, zerolog.Nop())
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { _ = s.Close() }) // tests that care close it themselves
	return s
}

const captured = 1769847300123456 // 2026-01-31T08:15:00.123456Z

func testHeader(camera string, seq uint64) frame.Header {
	return frame.Header{
		Camera: camera, ID: frame.ID{Epoch: 7, Seq: seq}, Status: frame.StatusOK, Encoding: frame.JPEG,
		Width: 4, Height: 2, CapturedUS: captured + int64(seq),
	}
}

func mustMessage(t *testing.T, h frame.Header, image []byte) *frame.Message {
	t.Helper()
	m, err := frame.NewMessage(h, image)
	if err != nil {
		t.Fatalf("NewMessage: %v", err)
	}
	return m
}

func mustSave(t *testing.T, s *Store, m *frame.Message) string {
	t.Helper()
	path, stored, err := s.Save(m)
	if err != nil || !stored {
		t.Fatalf("Save(%s) = %q, %v, %v, want it stored", m.Header.ID, path, stored, err)
	}
	return path
}

// tree lists every file below dir, except the store's own.
func tree(t *testing.T, dir string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		if !d.IsDir() && !strings.HasPrefix(rel, stateDir+"/") {
			files = append(files, rel)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("list %s: %v", dir, err)
	}
	return files
}

func wantTree(t *testing.T, dir string, want ...string) {
	t.Helper()
	if got := tree(t, dir); !slices.Equal(got, want) {
		t.Errorf("files below %s: got %q, want %q", dir, got, want)
	}
}

func TestSaveNamesAndKeepsBytes(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, testConfig(dir))
	image := []byte("\xff\xd8 anything \xff\xd9")
	path := mustSave(t, s, mustMessage(t, testHeader("greencam1", 3), image))
	want := filepath.Join(dir, "greencam1", "20260131T081500.123459Z_7-3.jpg")
	if path != want {
		t.Errorf("path: got %q, want %q", path, want)
	}
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, image) {
		t.Errorf("stored bytes: got %q, %v, want %q", got, err, image)
	}
	h := testHeader("greencam1", 4)
	h.Encoding = frame.PNG
	if path := mustSave(t, s, mustMessage(t, h, image)); !strings.HasSuffix(path, "_7-4.png") {
		t.Errorf("PNG path: got %q, want it to end in _7-4.png", path)
	}
	if n, size := s.index.len(), s.index.bytes; n != 2 || size != 2*int64(len(image)) {
		t.Errorf("kept: got %d images of %d bytes, want 2 of %d bytes", n, size, 2*len(image))
	}
}

func TestSaveRawAsBitmap(t *testing.T) {
	s := mustOpen(t, testConfig(t.TempDir()))
	h := testHeader("greencam1", 1)
	h.Encoding, h.PixelFormat, h.Width, h.Height = frame.Raw, frame.PixelBGR24, 3, 2 // rows of 9 bytes need padding
	pixels := make([]byte, 18)
	for i := range pixels {
		pixels[i] = byte(10 * i)
	}
	path := mustSave(t, s, mustMessage(t, h, pixels))
	if filepath.Ext(path) != ".bmp" {
		t.Errorf("path: got %q, want a .bmp", path)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for y := range 2 {
		for x := range 3 {
			at := 54 + (1-y)*12 + x*3 // as the format has it: bottom row first, 12 bytes a row
			got := color.RGBA{file[at+2], file[at+1], file[at], 255}
			p := pixels[y*9+x*3:]
			if want := (color.RGBA{p[2], p[1], p[0], 255}); got != want {
				t.Errorf("pixel %d,%d: got %v, want %v", x, y, got, want)
			}
		}
	}
	if want := 54 + 2*12; len(file) != want || string(file[:2]) != "BM" {
		t.Errorf("file: got %d bytes beginning %q, want %d and BM", len(file), file[:2], want)
	}
}

func TestSaveOncePerID(t *testing.T) {
	dir := t.TempDir()
	m := mustMessage(t, testHeader("greencam1", 1), []byte("one"))
	s := mustOpen(t, testConfig(dir))
	first := mustSave(t, s, m)
	for _, life := range []string{"same run", "after a restart"} {
		path, stored, err := s.Save(m)
		if path != first || stored || err != nil {
			t.Errorf("%s: Save again = %q, %v, %v, want %q, false, nil", life, path, stored, err, first)
		}
		if err := s.Close(); err != nil {
			t.Fatalf("Close: %v", err)
		}
		s = mustOpen(t, testConfig(dir))
	}
	wantTree(t, dir, "greencam1/20260131T081500.123457Z_7-1.jpg")
}

func TestSaveRefusesWhatNamesNoFile(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "images")
	s := mustOpen(t, testConfig(dir))
	cameras := []string{
		"", ".", "..", "../x", "/etc", "a/b", "a/../../b", ".state", "-x", "A", "greencam1\x00", "a\\b", "a b", "a\n", "ä",
		strings.Repeat("a", 65),
	}
	for _, c := range cameras {
		h := testHeader(c, 1)
		if path, stored, err := s.Save(mustMessage(t, h, []byte("x"))); stored || path != "" || !errors.Is(err, ErrRefused) {
			t.Errorf("camera %q: Save = %q, %v, %v, want ErrRefused", c, path, stored, err)
		}
	}
	for name, change := range map[string]func(*frame.Header){
		"no ID":            func(h *frame.Header) { h.ID = frame.ID{} },
		"an error reply":   func(h *frame.Header) { h.Status = frame.StatusError },
		"another encoding": func(h *frame.Header) { h.Encoding = "../../jpg" },
	} {
		h := testHeader("greencam1", 1)
		change(&h)
		if _, stored, err := s.Save(mustMessage(t, h, []byte("x"))); stored || !errors.Is(err, ErrRefused) {
			t.Errorf("%s: Save = %v, %v, want ErrRefused", name, stored, err)
		}
	}
	wantTree(t, parent, "images/.state/lock")
	for _, c := range cameras {
		if err := s.SaveWatermark(c, frame.ID{Epoch: 1, Seq: 1}); err == nil {
			t.Errorf("SaveWatermark(%q): got no error", c)
		}
	}
}

func TestSaveAnyCaptureTime(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, testConfig(dir))
	for i, us := range []int64{0, -1, -1 << 63, 1<<63 - 1, captured} {
		h := testHeader("greencam1", uint64(i))
		h.CapturedUS = us
		path := mustSave(t, s, mustMessage(t, h, []byte("x")))
		if n, ok := parseFile("greencam1", filepath.Base(path), false); !ok || n.id != h.ID {
			t.Errorf("captured %d: stored as %q, which parses as %+v, %v", us, path, n, ok)
		}
	}
	if got := len(tree(t, dir)); got != 5 {
		t.Errorf("files: got %d, want 5", got)
	}
}

func TestSaveSetsDamagedImagesAside(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, testConfig(dir))
	good := mustMessage(t, testHeader("greencam1", 1), []byte("the picture"))
	wire := slices.Clone(good.Wire())
	wire[len(wire)-1] ^= 1
	flipped, err := frame.ParseMessage(wire)
	if !errors.Is(err, frame.ErrChecksum) {
		t.Fatalf("ParseMessage of a flipped bit: got %v, want ErrChecksum", err)
	}
	short, err := frame.ParseMessage(good.Wire()[:len(good.Wire())-2])
	if !errors.Is(err, frame.ErrLength) {
		t.Fatalf("ParseMessage of a short image: got %v, want ErrLength", err)
	}
	want := filepath.Join(dir, "greencam1", "corrupt", "20260131T081500.123457Z_7-1.jpg")
	for _, m := range []*frame.Message{flipped, short} {
		path, stored, err := s.Save(m)
		if path != want || stored || !errors.Is(err, ErrCorrupt) {
			t.Errorf("Save = %q, %v, %v, want %q, false, ErrCorrupt", path, stored, err, want)
		}
	}
	mustSave(t, s, good) // the damaged copy must not count as the frame
	h := testHeader("greencam1", 2)
	h.Encoding, h.PixelFormat = frame.Raw, frame.PixelBGR24
	if path, _, err := s.Save(mustMessage(t, h, []byte("not 4x2 pixels"))); !errors.Is(err, ErrCorrupt) {
		t.Errorf("raw of the wrong size: Save = %q, %v, want ErrCorrupt", path, err)
	}
	wantTree(t, dir, "greencam1/20260131T081500.123457Z_7-1.jpg",
		"greencam1/corrupt/20260131T081500.123457Z_7-1.jpg", "greencam1/corrupt/20260131T081500.123458Z_7-2.raw")
}
