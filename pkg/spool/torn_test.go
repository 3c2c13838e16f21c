package spool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"framekeeper/pkg/frame"
)

// damage is one way a file can be wrong on disk.
func damages(wire int) map[string]func(path string) error {
	all := map[string]func(path string) error{
		"grown": func(path string) error { return rewrite(path, func(b []byte) []byte { return append(b, 0) }) },
		"zeros": func(path string) error { return rewrite(path, func(b []byte) []byte { return make([]byte, len(b)) }) },
		"tail zeroed": func(path string) error {
			return rewrite(path, func(b []byte) []byte { clear(b[len(b)/2:]); return b })
		},
		"vanished": os.Remove,
		"another frame's": func(path string) error {
			m := message(id(1, 999), 5000)
			p := encodePrefix(m.Header.ID, m.Wire())
			return os.WriteFile(path, append(p[:], m.Wire()...), 0o600)
		},
		"another frame's under this ID": func(path string) error {
			m := message(id(1, 999), 5000)
			p := encodePrefix(id(1, 2), m.Wire())
			return os.WriteFile(path, append(p[:], m.Wire()...), 0o600)
		},
	}
	size := prefixSize + wire
	for _, n := range []int{0, 1, 4, 35, 36, 37, 38, 39, 100, 4095, 4096, 4097, size / 2, size - 1} {
		all[fmt.Sprintf("cut to %d", n)] = func(path string) error { return os.Truncate(path, int64(n)) }
	}
	for _, at := range []int{0, 4, 8, 16, 24, 31, 32, 35, 36, 60, 1000, size - 1} {
		all[fmt.Sprintf("bit flipped in byte %d", at)] = func(path string) error {
			return rewrite(path, func(b []byte) []byte { b[at] ^= 0x10; return b })
		}
	}
	return all
}

func rewrite(path string, change func([]byte) []byte) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return os.WriteFile(path, change(data), 0o600)
}

// Each damage is done twice: under an open spool, and between two processes.
func TestDamagedFiles(t *testing.T) {
	m := message(id(1, 2), 5000)
	for name, damage := range damages(m.Size()) {
		t.Run(name, func(t *testing.T) {
			for _, reopen := range []bool{false, true} {
				dir := t.TempDir()
				s := mustOpen(t, config(dir))
				for seq := uint64(1); seq <= 3; seq++ {
					mustPut(t, s, message(id(1, seq), 5000))
				}
				if err := damage(s.path(id(1, 2))); err != nil {
					t.Fatal(err)
				}
				var lost []Loss
				if reopen {
					mustClose(t, s)
					var err error
					if s, lost, err = Open(config(dir)); err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { _ = s.Close() })
				}
				checkDamaged(t, s, dir, name, lost)
			}
		})
	}
}

// checkDamaged wants frame 1-2 lost and reported once, and its neighbours whole.
func checkDamaged(t *testing.T, s *Spool, dir, name string, lost []Loss) {
	t.Helper()
	known := slices.Contains(allIDs(s), id(1, 2))
	got, err := s.Get(id(1, 2))
	vanished := !known && lost == nil // the next process cannot know there was a file
	switch want := []Loss{{id(1, 2), id(1, 2), ReasonDamaged}}; {
	case got != nil || err == nil:
		t.Fatalf("the damaged frame reads as one of %d bytes, error %v", got.Size(), err)
	case known && (!errors.Is(err, ErrCorrupt) || lost != nil):
		t.Errorf("get says %v, want %v; Open lost %v", err, ErrCorrupt, lost)
	case !known && !vanished && (!errors.Is(err, ErrGone) || !reflect.DeepEqual(lost, want)):
		t.Errorf("Open lost %v, want %v; then get says %v", lost, want, err)
	case vanished && name != "vanished":
		t.Errorf("the loss is not reported")
	}
	if _, err := s.Get(id(1, 2)); !errors.Is(err, ErrGone) {
		t.Errorf("a second get says %v, want %v", err, ErrGone)
	}
	for _, seq := range []uint64{1, 3} {
		mustHold(t, s, message(id(1, seq), 5000))
	}
	if st := s.Stats(); st.Frames != 2 || st.Bytes != 16384 || (st.Corrupt != 1 && !vanished) || st.Errors != 0 {
		t.Errorf("stats are %+v", st)
	}
	if name == "vanished" || vanished {
		return
	}
	if _, err := os.Lstat(filepath.Join(dir, quarantineName, "1-2.frame")); err != nil {
		t.Errorf("the file was not set aside: %v", err)
	}
}

// The checksum alone would catch these; the reason helps to find the cause.
func TestDecodeSaysWhy(t *testing.T) {
	m := message(id(1, 999), 50)
	whole := sealed(m.Header.ID, m.Wire())
	changed := func(at int, b byte) []byte { c := slices.Clone(whole); c[at] = b; return c }
	for _, tt := range []struct {
		id   frame.ID
		data []byte
		want string
	}{
		{m.Header.ID, nil, "0 bytes are too few"},
		{m.Header.ID, changed(0, 'x'), "not a frame's file"},
		{m.Header.ID, changed(4, 9), "written in version 9, expected 1"},
		{id(1, 2), whole, "holds 1-999"},
		{m.Header.ID, whole[:100], fmt.Sprintf("64 bytes, expected %d", m.Size())},
		{m.Header.ID, changed(len(whole)-1, whole[len(whole)-1]+1), "checksum"},
		{id(1, 2), sealed(id(1, 2), m.Wire()), "its header says 1-999"},
		{id(1, 2), sealed(id(1, 2), []byte("no header at all")), frame.ErrNoHeader.Error()},
	} {
		if _, err := decode(tt.id, tt.data); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("decode: %v, want it to say %q", err, tt.want)
		}
	}
}

func TestMisplacedFile(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, config(dir))
	for _, seq := range []uint64{1, 2, 1001} {
		mustPut(t, s, message(id(1, seq), 10))
	}
	mustClose(t, s)
	for from, to := range map[string]string{"1/0/1-1.frame": "1/1/1-1.frame", "1/0/1-2.frame": "1/1/1-2.frame"} {
		if err := os.Link(filepath.Join(dir, from), filepath.Join(dir, to)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(dir, "1/0/1-1.frame")); err != nil {
		t.Fatal(err)
	}
	s, losses, err := Open(config(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer mustClose(t, s)
	// 1-2 is also where it belongs, so it is not lost.
	if want := []Loss{{id(1, 1), id(1, 1), ReasonDamaged}}; !reflect.DeepEqual(losses, want) {
		t.Errorf("lost %v, want %v", losses, want)
	}
	if got, want := allIDs(s), []frame.ID{id(1, 2), id(1, 1001)}; !slices.Equal(got, want) {
		t.Errorf("held are %v, want %v", got, want)
	}
	mustHold(t, s, message(id(1, 2), 10))
}

func TestQuarantineIsNoLink(t *testing.T) {
	s := mustOpen(t, config(t.TempDir()))
	outside := t.TempDir()
	quarantine := filepath.Join(s.cfg.Dir, quarantineName)
	if err := os.Symlink(outside, quarantine); err != nil {
		t.Fatal(err)
	}
	mustPut(t, s, message(id(1, 1), 10))
	if err := rewrite(s.path(id(1, 1)), func(b []byte) []byte { b[40] ^= 1; return b }); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(id(1, 1)); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("get: %v, want %v", err, ErrCorrupt)
	}
	if files, err := os.ReadDir(outside); err != nil || len(files) != 0 {
		t.Errorf("%v, %v are outside, want nothing", files, err)
	}
	if files, err := os.ReadDir(quarantine); err != nil || len(files) != 1 {
		t.Errorf("the quarantine holds %v, %v; want the file", files, err)
	}
	if info, err := os.Lstat(quarantine); err != nil || !info.IsDir() {
		t.Errorf("the quarantine is %v, %v; want a directory", info, err)
	}
}

func TestQuarantineIsBounded(t *testing.T) {
	for name, tt := range map[string]struct {
		max  int64
		size int
		want int
	}{
		"in files":  {1 << 30, 10, quarantineFiles},
		"in bytes":  {8 * 10 * 8192, 8000, 10},
		"too large": {8 * 4096, 4096, 0},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config(t.TempDir())
			cfg.MaxBytes = tt.max
			s := mustOpen(t, cfg)
			for seq := uint64(1); seq <= 30; seq++ {
				mustPut(t, s, message(id(1, seq), tt.size))
				if err := rewrite(s.path(id(1, seq)), func(b []byte) []byte { b[40] ^= 1; return b }); err != nil {
					t.Fatal(err)
				}
				if _, err := s.Get(id(1, seq)); !errors.Is(err, ErrCorrupt) {
					t.Fatalf("get: %v, want %v", err, ErrCorrupt)
				}
			}
			kept := slices.DeleteFunc(fileNames(t, filepath.Join(cfg.Dir, quarantineName)), func(n string) bool { return !strings.HasSuffix(n, suffix) })
			if len(kept) != tt.want {
				t.Errorf("%d files are kept, want %d: %q", len(kept), tt.want, kept)
			}
			if tt.want > 0 && !slices.Contains(kept, "1-30.frame") {
				t.Errorf("the newest is not kept, but %q", kept)
			}
			if n := diskBytes(t, cfg.Dir); n != 0 {
				t.Errorf("%d bytes of frames are left outside the quarantine", n)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	m := message(id(3, 4), 50)
	p := encodePrefix(m.Header.ID, m.Wire())
	whole := append(p[:], m.Wire()...)
	f.Add(uint64(3), uint64(4), whole)
	f.Add(uint64(3), uint64(5), whole)
	f.Add(uint64(3), uint64(4), whole[:len(whole)-1])
	f.Add(uint64(0), uint64(0), []byte(magic))
	f.Fuzz(func(t *testing.T, epoch, seq uint64, data []byte) {
		// The checksum keeps the fuzzer out; let it in through the front.
		for _, data := range [][]byte{data, sealed(id(epoch, seq), data)} {
			m, err := decode(id(epoch, seq), data)
			if err != nil {
				if m != nil || !errors.Is(err, ErrCorrupt) {
					t.Fatalf("decode gives %v and %v", m, err)
				}
				continue
			}
			p := encodePrefix(id(epoch, seq), m.Wire())
			if again := append(p[:], m.Wire()...); !slices.Equal(again, data) || m.Header.ID != id(epoch, seq) {
				t.Fatalf("%d accepted bytes are written as %d others", len(data), len(again))
			}
		}
	})
}

func sealed(id frame.ID, wire []byte) []byte {
	p := encodePrefix(id, wire)
	return append(p[:], wire...)
}
