package spool

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"framekeeper/pkg/frame"
)

func TestFullSpoolDropsTheOldest(t *testing.T) {
	cfg := config(t.TempDir())
	cfg.MaxBytes = 10 * 8192
	s := mustOpen(t, cfg)
	for seq := uint64(1); seq <= 10; seq++ {
		if losses := mustPut(t, s, message(id(1, seq), 8000)); losses != nil {
			t.Fatalf("1-%d fits and cost %v", seq, losses)
		}
	}
	if n := diskBytes(t, cfg.Dir); n != cfg.MaxBytes {
		t.Fatalf("%d bytes are on disk, want %d", n, cfg.MaxBytes)
	}
	for _, tt := range []struct {
		put  frame.ID
		size int
		want []Loss
	}{
		{id(1, 11), 8000, []Loss{{id(1, 1), id(1, 1), ReasonFull}}},
		{id(1, 12), 10, []Loss{{id(1, 2), id(1, 2), ReasonFull}}}, // leaves a block free
		{id(1, 13), 10, nil},
		{id(2, 1), 16000, []Loss{{id(1, 3), id(1, 4), ReasonFull}}},
		{id(1, 1), 8000, []Loss{{id(1, 1), id(1, 1), ReasonFull}}}, // older than all: goes itself
		{id(1, 5), 8000, nil}, // held
	} {
		if losses := mustPut(t, s, message(tt.put, tt.size)); !reflect.DeepEqual(losses, tt.want) {
			t.Errorf("put of %s lost %v, want %v", tt.put, losses, tt.want)
		}
		if n := diskBytes(t, cfg.Dir); n > cfg.MaxBytes || n != s.Stats().Bytes {
			t.Errorf("after %s %d bytes are on disk, %d are counted, at most %d are allowed", tt.put, n, s.Stats().Bytes, cfg.MaxBytes)
		}
	}
	if st := s.Stats(); st.Dropped != 5 || st.Oldest != id(1, 5) {
		t.Errorf("stats are %+v, want 5 dropped, oldest 1-5", st)
	}
}

// A frame between two lost ones may have been delivered: it must not be declared.
func TestLossNamesOnlyLostIDs(t *testing.T) {
	cfg := config(t.TempDir())
	cfg.MaxBytes = 5 * 4096
	s := mustOpen(t, cfg)
	for _, i := range []frame.ID{id(1, 1), id(1, 2), id(1, 4), id(2, 1), id(2, 2)} {
		mustPut(t, s, message(i, 10))
	}
	want := []Loss{{id(1, 1), id(1, 2), ReasonFull}, {id(1, 4), id(1, 4), ReasonFull}, {id(2, 1), id(2, 1), ReasonFull}}
	if got := mustPut(t, s, message(id(2, 3), 4*4096-1000)); !reflect.DeepEqual(got, want) {
		t.Errorf("lost %v, want %v", got, want)
	}
}

func TestSmallerBoundAtOpen(t *testing.T) {
	cfg := config(t.TempDir())
	s := mustOpen(t, cfg)
	for seq := uint64(1); seq <= 10; seq++ {
		mustPut(t, s, message(id(1, seq), 10))
	}
	mustClose(t, s)
	cfg.MaxBytes = 4 * 4096
	s, losses, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer mustClose(t, s)
	if want := []Loss{{id(1, 1), id(1, 6), ReasonFull}}; !reflect.DeepEqual(losses, want) {
		t.Errorf("lost %v, want %v", losses, want)
	}
}

func TestFreeDiskBound(t *testing.T) {
	c := newClock()
	cfg := config(t.TempDir())
	cfg.Now = c.now
	s := mustOpen(t, cfg)
	for seq := uint64(1); seq <= 10; seq++ {
		mustPut(t, s, message(id(1, seq), 8000))
	}
	// The real disk is whatever it is; what statfs answered is set instead, for
	// as long as the clock stands still.
	s.cfg.MinFree = 100000
	s.free = freeDisk{asked: c.t, avail: 100000 - 3*8192}
	if got, err := s.Expire(); err != nil || !reflect.DeepEqual(got, []Loss{{id(1, 1), id(1, 3), ReasonDisk}}) {
		t.Errorf("with 3 frames too many lost %v, %v", got, err)
	}
	if got, want := mustPut(t, s, message(id(1, 11), 8000)), []Loss{{id(1, 4), id(1, 4), ReasonDisk}}; !reflect.DeepEqual(got, want) {
		t.Errorf("put lost %v, want %v", got, want)
	}
	s.free.avail = 0 // more than the spool could give back
	losses, err := s.Put(message(id(1, 12), 8000))
	if !errors.Is(err, ErrDiskFull) || losses != nil || s.Stats().Frames != 7 {
		t.Errorf("put lost %v, %v, %d frames are left; want %v and all 7 frames", losses, err, s.Stats().Frames, ErrDiskFull)
	}
	c.advance(askEvery)
	mustPut(t, s, message(id(1, 12), 8000)) // the disk is asked again
	if s.free.avail < 100000 || !s.free.asked.Equal(c.t) {
		t.Errorf("the disk was not asked again: %+v", s.free)
	}
}

func TestDefaultReserve(t *testing.T) {
	c := newClock()
	cfg := config(t.TempDir())
	cfg.Now, cfg.MinFree = c.now, 0
	s := mustOpen(t, cfg)
	for size, want := range map[int64]int64{1 << 30: 1 << 30 / 50, 1 << 40: 64 << 20} {
		s.free = freeDisk{asked: c.t, size: size}
		if got := s.shortage(5); got != want+5 {
			t.Errorf("on an empty-handed disk of %d bytes %d are short, want %d", size, got, want+5)
		}
	}
}

func TestIndexEntryIsSmall(t *testing.T) {
	var x index
	for seq := range uint64(50000) {
		x.insert(id(1, seq+1), 20000, 0)
	}
	total := 0
	for _, b := range x.blocks {
		total += 12 * cap(b.entries)
	}
	if reflect.TypeFor[entry]().Size() != 12 || total > 50000*20 {
		t.Errorf("an entry is %d bytes, 50000 of them take %d", reflect.TypeFor[entry]().Size(), total)
	}
}

// What Put says of a full spool must be what Open of the same directory finds.
func TestEvictionAcrossBlocks(t *testing.T) {
	cfg := config(t.TempDir())
	cfg.MaxBytes = 600 * 4096
	s := mustOpen(t, cfg)
	var lost []frame.ID
	for seq := uint64(1); seq <= 1700; seq++ {
		lost = append(lost, lostIDs(t, mustPut(t, s, message(id(1, seq), 10)))...)
	}
	if len(lost) != 1100 || lost[0] != id(1, 1) || lost[1099] != id(1, 1100) {
		t.Fatalf("%d are lost, want 1100 from 1-1", len(lost))
	}
	if _, err := os.Stat(filepath.Join(cfg.Dir, "1", "0")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the empty directory is still there: %v", err)
	}
	held := allIDs(s)
	mustClose(t, s)
	if got := allIDs(mustOpen(t, cfg)); !slices.Equal(got, held) {
		t.Errorf("%d are held after opening again, before %d", len(got), len(held))
	}
}
