package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"framekeeper/pkg/frame"
)

// broken is a spool with frames 1-1 to 1-n whose files cannot be read while they have
// an error.
func broken(t *testing.T, n int) (*Spool, map[frame.ID]error, *clock) {
	t.Helper()
	cfg, now, errs := config(t.TempDir()), newClock(), map[frame.ID]error{}
	cfg.Now = now.now
	s := mustOpen(t, cfg)
	s.read = func(path string, size int64) ([]byte, error) {
		i, _ := parseName(filepath.Base(path))
		if err := errs[i]; err != nil {
			return nil, &fs.PathError{Op: "read", Path: path, Err: err}
		}
		return readExactly(path, size)
	}
	for seq := uint64(1); seq <= uint64(n); seq++ {
		mustPut(t, s, message(id(1, seq), 100))
	}
	return s, errs, now
}

// mustBeHeld wants Get to fail with an error that proves nothing.
func mustBeHeld(t *testing.T, s *Spool, i frame.ID, want error) {
	t.Helper()
	if _, err := s.Get(i); !errors.Is(err, want) || errors.Is(err, ErrCorrupt) || errors.Is(err, ErrGone) {
		t.Fatalf("get %s: %v, want %v and no loss", i, err, want)
	}
	if !slices.Contains(allIDs(s), i) {
		t.Fatalf("%s is not held any more", i)
	}
}

func TestPassingErrorIsNoLoss(t *testing.T) {
	for _, e := range []error{
		syscall.EIO, syscall.EMFILE, syscall.ENFILE, syscall.EACCES, syscall.EPERM, syscall.ENOMEM, syscall.ELOOP, syscall.ESTALE, syscall.ETIMEDOUT,
	} {
		s, errs, now := broken(t, 3)
		for i := range allIDs(s) { // all of the disk
			errs[id(1, uint64(i)+1)] = e
		}
		for range 10 {
			mustBeHeld(t, s, id(1, 1), e)
			now.advance(failingTime)
		}
		clear(errs)
		for _, i := range allIDs(s) {
			mustHold(t, s, message(i, 100))
		}
		if st := s.Stats(); st.Frames != 3 || st.Corrupt != 0 || st.Errors != 10 {
			t.Errorf("%v: stats are %+v, want 3 frames and 10 errors", e, st)
		}
	}
}

// The file that cannot be read while others can is damaged in the end.
func TestErrorThatStaysIsDamage(t *testing.T) {
	s, errs, now := broken(t, 3)
	errs[id(1, 1)] = syscall.EIO
	for range 12 {
		mustBeHeld(t, s, id(1, 1), syscall.EIO)
		now.advance(failingTime / 12)
	}
	if _, err := s.Get(id(1, 1)); !errors.Is(err, ErrCorrupt) || !errors.Is(err, syscall.EIO) {
		t.Errorf("after %v: %v, want %v", failingTime, err, ErrCorrupt)
	}
	if _, err := s.Get(id(1, 1)); !errors.Is(err, ErrGone) {
		t.Errorf("then: %v, want %v", err, ErrGone)
	}
	if _, err := os.Lstat(filepath.Join(s.cfg.Dir, quarantineName, "1-1.frame")); err != nil {
		t.Errorf("the file was not set aside: %v", err)
	}
	if st := s.Stats(); st.Frames != 2 || st.Corrupt != 1 || len(s.failing) != 0 {
		t.Errorf("stats are %+v, and %d are watched; want 2 frames, 1 damaged, none watched", st, len(s.failing))
	}
	// Two tries a long time apart are not enough, and one that succeeds forgives all.
	errs[id(1, 2)] = syscall.EIO
	mustBeHeld(t, s, id(1, 2), syscall.EIO)
	now.advance(time.Hour)
	mustBeHeld(t, s, id(1, 2), syscall.EIO)
	clear(errs)
	mustHold(t, s, message(id(1, 2), 100))
	errs[id(1, 2)] = syscall.EIO
	mustBeHeld(t, s, id(1, 2), syscall.EIO)
}

// While nothing else proves that the disk works, a file's error is the disk's.
func TestErrorOfTheWholeDiskIsNotTheFiles(t *testing.T) {
	s, errs, now := broken(t, 2)
	errs[id(1, 1)] = syscall.EIO
	for i := range 20 {
		delete(errs, id(1, 2))
		if i%2 == 0 { // it comes and goes
			errs[id(1, 2)] = syscall.EIO
		}
		mustBeHeld(t, s, id(1, 1), syscall.EIO)
		now.advance(failingTime)
	}
	clear(errs)
	if err := s.Remove(id(1, 1)); err != nil {
		t.Fatal(err)
	}
	errs[id(1, 2)] = syscall.EIO // the only one
	for range 10 {
		mustBeHeld(t, s, id(1, 2), syscall.EIO)
		now.advance(failingTime)
	}
}

func TestWatchedFilesAreBounded(t *testing.T) {
	s, errs, now := broken(t, 3*maxFailing)
	for seq := uint64(1); seq <= 2*maxFailing; seq++ {
		errs[id(1, seq)] = syscall.EIO
		mustBeHeld(t, s, id(1, seq), syscall.EIO)
	}
	if n := len(s.failing); n != maxFailing {
		t.Errorf("%d are watched, want %d", n, maxFailing)
	}
	now.advance(failingTime)
	lost := 0
	for range failingTimes + 1 {
		for seq := uint64(1); seq <= 2*maxFailing; seq++ {
			if _, err := s.Get(id(1, seq)); errors.Is(err, ErrCorrupt) {
				lost++
			}
		}
	}
	if lost != maxFailing { // the others' minute has just begun
		t.Errorf("%d are damaged, want the %d that were watched", lost, maxFailing)
	}
}

// A name that is missing is proof only in a directory that can be read.
func TestVanishedOnlyIfTheDirectoryIsThere(t *testing.T) {
	s, _, _ := broken(t, 3)
	aside := s.cfg.Dir + ".aside"
	rename := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	rename(s.cfg.Dir, aside)
	mustBeHeld(t, s, id(1, 1), fs.ErrNotExist)
	if err := os.Mkdir(s.cfg.Dir, 0o750); err != nil { // as where a disk is not mounted any more
		t.Fatal(err)
	}
	mustBeHeld(t, s, id(1, 1), fs.ErrInvalid)
	if err := os.Remove(s.cfg.Dir); err != nil {
		t.Fatal(err)
	}
	rename(aside, s.cfg.Dir)
	block := s.dir(placeOf(id(1, 1)))
	rename(block, block+"x")
	if err := os.Symlink(block, block); err != nil {
		t.Fatal(err)
	}
	mustBeHeld(t, s, id(1, 1), syscall.ELOOP)
	if err := os.Remove(block); err != nil {
		t.Fatal(err)
	}
	rename(block+"x", block)
	for _, i := range allIDs(s) {
		mustHold(t, s, message(i, 100))
	}

	for i, gone := range []string{s.path(id(1, 1)), block, s.cfg.Dir} {
		if err := os.RemoveAll(gone); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Get(id(1, uint64(i)+1)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("without %s: %v, want %v", gone, err, ErrCorrupt)
		}
	}
}

// fewFiles lets the process open so few files more, until the test's end or call.
func fewFiles(t *testing.T, more int) (end func()) {
	t.Helper()
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	highest := 0 // the limit is one of numbers
	for _, e := range open {
		var n int
		_, _ = fmt.Sscan(e.Name(), &n)
		highest = max(highest, n)
	}
	var fill []*os.File
	for len(fill) <= highest-len(open)+2 {
		f, err := os.Open("/dev/null")
		if err != nil {
			t.Fatal(err)
		}
		if int(f.Fd()) > highest {
			_ = f.Close()
			break
		}
		fill = append(fill, f)
	}
	limit := before
	limit.Cur = uint64(highest + 1 + more)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	end = func() {
		_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before)
		for _, f := range fill {
			_ = f.Close()
		}
	}
	t.Cleanup(end)
	return end
}

// Without descriptors nothing is read, written or synced, and nothing lost.
func TestWithoutDescriptors(t *testing.T) {
	s := mustOpen(t, config(t.TempDir()))
	var held []frame.ID
	for seq := uint64(1); seq <= maxPending+10; seq++ { // the last ten are closed, for too many are open
		mustPut(t, s, message(id(1, seq), 100))
		held = append(held, id(1, seq))
	}
	end := fewFiles(t, 0)
	if losses, err := s.Put(message(id(1, 1000), 100)); !errors.Is(err, syscall.EMFILE) || losses != nil {
		t.Errorf("put: lost %v, %v, want %v", losses, err, syscall.EMFILE)
	}
	mustBeHeld(t, s, id(1, 1), syscall.EMFILE)
	if refused, unknown, err := s.settle(map[frame.ID]*os.File{id(1, maxPending+1): nil}); refused != nil || len(unknown) != 1 || !errors.Is(err, syscall.EMFILE) {
		t.Errorf("settle: refused %v, unknown %v, %v; want one unknown and %v", refused, unknown, err, syscall.EMFILE)
	}
	end()
	mustSync(t, s)
	mustClose(t, s)

	for more := range 6 { // at the root, an epoch, a block
		end := fewFiles(t, more)
		s, losses, err := Open(s.cfg)
		end()
		if err == nil {
			if got := allIDs(s); !slices.Equal(got, held) {
				t.Errorf("with %d descriptors: held are %v, want all", more, got)
			}
			mustClose(t, s)
		} else if !errors.Is(err, syscall.EMFILE) {
			t.Errorf("with %d descriptors: %v, want %v", more, err, syscall.EMFILE)
		}
		if losses != nil || more == 0 && err == nil {
			t.Errorf("with %d descriptors: lost %v, %v", more, losses, err)
		}
	}
	mustHoldExactly(t, s.cfg, held, 100)
}
