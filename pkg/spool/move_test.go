package spool

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestMove(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "a", "cam1"), filepath.Join(dir, "b", "c", "cam1")
	want := func(what string, moved bool, cause error) {
		t.Helper()
		if got, err := Move(t.Context(), from, to); got != moved || !errors.Is(err, cause) {
			t.Errorf("%s: got %v, %v, want %v, %v", what, got, err, moved, cause)
		}
	}
	want("nothing there", false, nil)
	s := mustOpen(t, config(from))
	want("an empty one", false, nil)
	mustPut(t, s, message(id(7, 1), 5000))
	want("one that is open", false, ErrInUse)
	mustHold(t, s, message(id(7, 1), 5000))
	mustClose(t, s)

	// What is there already is nobody's to mix with.
	if err := os.MkdirAll(filepath.Join(to, "7"), 0o755); err != nil {
		t.Fatal(err)
	}
	want("the place is taken", false, ErrCannotMove)
	if err := os.Remove(filepath.Join(to, "7")); err != nil {
		t.Fatal(err)
	}
	// An agent's lock and state, where its spool_dir was its state_dir, stay.
	for _, foreign := range []string{"lock", "7/note", "7/0/7-1.frame.bak", "8"} {
		path := filepath.Join(from, foreign)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		want(foreign+" is not the spool's", false, ErrCannotMove)
		if err := os.Remove(path); err != nil {
			t.Errorf("%s: %v, want it where it was", foreign, err)
		}
	}
	if err := os.WriteFile(filepath.Join(from, tempName), nil, 0o600); err != nil { // a killed process left it
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(from, quarantineName), 0o755); err != nil {
		t.Fatal(err)
	}
	want("the place is empty", true, nil)
	s = mustOpen(t, config(to))
	mustHold(t, s, message(id(7, 1), 5000))
	mustClose(t, s)
	want("nothing is left", false, nil)

	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	from, to = to, filepath.Join(dir, "file", "cam1")
	want("the place cannot be made", false, ErrCannotMove)
	from = filepath.Join(dir, "file", "cam1")
	if _, err := Move(t.Context(), from, to); err == nil {
		t.Error("a spool that cannot be read: got no error")
	}
}

// A power cut must not take directories away that were made for a spool.
func TestAllThatLeadsToAMovedSpoolIsSynced(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "a"), 0o755); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string][]string{
		"b":         {""},
		"a/b":       {"a"},
		"a/b/c/cam": {"a/b/c", "a/b", "a"},
	} {
		for i := range want {
			want[i] = filepath.Join(dir, want[i])
		}
		if got := above(filepath.Join(dir, path)); !slices.Equal(got, want) {
			t.Errorf("above %s: got %q, want %q", path, got, want)
		}
	}
}
