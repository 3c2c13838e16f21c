package spool

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// What is counted from outside is what the spool itself counts, and nothing that
// is not a frame.
func TestHeldCountsLikeTheSpool(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cam1")
	want := func(what string, frames int, bytes int64) {
		t.Helper()
		n, size, err := Count(t.Context(), dir)
		if n != frames || size != bytes || err != nil {
			t.Errorf("%s: got %d frames, %d bytes, %v, want %d, %d", what, n, size, err, frames, bytes)
		}
	}
	want("nothing there", 0, 0)
	s := mustOpen(t, config(dir))
	want("empty", 0, 0)
	for seq := uint64(1); seq < 3*blockFrames; seq += blockFrames / 4 {
		mustPut(t, s, message(id(7, seq), 5000))
	}
	mustPut(t, s, message(id(8, 1), 100))
	st := s.Stats()
	want("while it is open", st.Frames, st.Bytes)
	mustClose(t, s)
	for _, name := range []string{"put.tmp", "quarantine/7-1.frame", "7/notes", "7/0/notes", "7/0/07-5.frame", "7x/0/7-1.frame"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want("beside files of others", st.Frames, st.Bytes)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := Count(over, dir); !errors.Is(err, context.Canceled) {
		t.Errorf("cut off: got %v", err)
	}
}
