package spool

import (
	"errors"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"testing"

	"framekeeper/pkg/frame"
)

func TestPutGetRemove(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	s := mustOpen(t, config(dir))
	for seq := uint64(1); seq <= 5; seq++ {
		if losses := mustPut(t, s, message(id(7, seq), 1000)); losses != nil {
			t.Fatalf("put lost %v", losses)
		}
	}
	mustSync(t, s)
	for seq := uint64(1); seq <= 5; seq++ {
		mustHold(t, s, message(id(7, seq), 1000))
	}
	if got, want := s.IDs(id(7, 2), 2), []frame.ID{id(7, 3), id(7, 4)}; !slices.Equal(got, want) {
		t.Errorf("two IDs after 7-2: %v, want %v", got, want)
	}
	if err := s.Remove(id(7, 3)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(id(7, 3)); !errors.Is(err, ErrGone) {
		t.Errorf("get of a removed frame: %v, want %v", err, ErrGone)
	}
	st := s.Stats()
	if st.Frames != 2 || st.Bytes != diskBytes(t, dir) || st.Oldest != id(7, 4) || st.Newest != id(7, 5) || st.Written != 5 || st.Removed != 3 || st.OldestAt.IsZero() {
		t.Errorf("stats are %+v with %d bytes on disk", st, diskBytes(t, dir))
	}
	if got, want := fileNames(t, dir), []string{"7/", "7/0/", "7/0/7-4.frame", "7/0/7-5.frame"}; !slices.Equal(got, want) {
		t.Errorf("files are %q, want %q", got, want)
	}
}

func TestReopen(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, config(dir))
	want := []frame.ID{id(0, 5), id(3, 0), id(3, 999), id(3, 1000), id(3, 1001), id(3, 1<<63), id(1<<63, 1)}
	for _, i := range want {
		mustPut(t, s, message(i, 10))
	}
	before := s.Stats()
	mustClose(t, s)
	s = mustOpen(t, config(dir))
	if got := allIDs(s); !slices.Equal(got, want) {
		t.Fatalf("after opening again %v are held, want %v", got, want)
	}
	if st := s.Stats(); st.Bytes != before.Bytes || st.Bytes != diskBytes(t, dir) {
		t.Errorf("%d bytes are held, before %d, on disk %d", st.Bytes, before.Bytes, diskBytes(t, dir))
	}
	for _, i := range want {
		mustHold(t, s, message(i, 10))
	}
	mustSync(t, s)
	if err := s.Remove(id(1<<63, 1)); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	if left := fileNames(t, dir); len(left) > 0 {
		t.Errorf("an empty spool leaves %q behind", left)
	}
}

func TestPutOutOfOrder(t *testing.T) {
	s := mustOpen(t, config(t.TempDir()))
	for _, seq := range []uint64{2500, 10, 1500, 9, 11, 2499} {
		mustPut(t, s, message(id(1, seq), 10))
	}
	want := []frame.ID{id(1, 9), id(1, 10), id(1, 11), id(1, 1500), id(1, 2499), id(1, 2500)}
	if got := allIDs(s); !slices.Equal(got, want) {
		t.Errorf("held are %v, want %v", got, want)
	}
	for after, want := range map[frame.ID][]frame.ID{
		{}: want[:2], id(1, 9): want[1:3], id(1, 12): want[3:5], id(1, 999): want[3:5], id(1, 1500): want[4:], id(1, 2500): nil, id(2, 0): nil, id(0, 77): want[:2],
	} {
		if got := s.IDs(after, 2); !slices.Equal(got, want) {
			t.Errorf("two IDs after %s are %v, want %v", after, got, want)
		}
	}
	if got := s.IDs(frame.ID{}, -1); got != nil {
		t.Errorf("-1 IDs are %v", got)
	}
}

func TestPutHeldIDChangesNothing(t *testing.T) {
	s := mustOpen(t, config(t.TempDir()))
	mustPut(t, s, message(id(1, 1), 10))
	mustPut(t, s, message(id(1, 1), 9000))
	mustHold(t, s, message(id(1, 1), 10))
	if st := s.Stats(); st.Frames != 1 || st.Written != 1 || st.Bytes != 4096 {
		t.Errorf("stats are %+v", st)
	}
}

func TestPutRefuses(t *testing.T) {
	cfg := config(t.TempDir())
	cfg.MaxBytes = 8192
	s := mustOpen(t, cfg)
	mustPut(t, s, message(id(1, 1), 10))
	for name, tt := range map[string]struct {
		m    *frame.Message
		want error
	}{
		"no ID":     {message(frame.ID{}, 10), errNoID},
		"too large": {message(id(1, 2), 8192), ErrTooLarge},
	} {
		losses, err := s.Put(tt.m)
		if !errors.Is(err, tt.want) || losses != nil {
			t.Errorf("%s: lost %v, error %v; want %v", name, losses, err, tt.want)
		}
	}
	mustHold(t, s, message(id(1, 1), 10))
	if got := s.Stats().Errors; got != 2 {
		t.Errorf("%d errors are counted, want 2", got)
	}
}

func TestClosed(t *testing.T) {
	s := mustOpen(t, config(t.TempDir()))
	mustPut(t, s, message(id(1, 1), 10))
	mustClose(t, s)
	_, putErr := s.Put(message(id(1, 2), 10))
	_, syncErr := s.Sync()
	_, expireErr := s.Expire()
	for name, err := range map[string]error{"put": putErr, "sync": syncErr, "expire": expireErr, "remove": s.Remove(id(1, 1))} {
		if !errors.Is(err, errClosed) {
			t.Errorf("%s after Close: %v, want %v", name, err, errClosed)
		}
	}
	mustClose(t, s) // again
}

// The drain reads while capture writes and a third goroutine syncs.
func TestConcurrentUse(t *testing.T) {
	const frames = 400
	cfg := config(t.TempDir())
	s := mustOpen(t, cfg)
	var wg sync.WaitGroup
	done := make(chan struct{})
	wg.Go(func() {
		defer close(done)
		for seq := uint64(1); seq <= frames; seq++ {
			if losses, err := s.Put(message(id(1, seq), 2000)); err != nil || losses != nil {
				t.Errorf("put: lost %v, %v", losses, err)
			}
		}
	})
	wg.Go(func() {
		for {
			if losses, err := s.Sync(); err != nil || losses != nil {
				t.Errorf("sync: lost %v, %v", losses, err)
			}
			s.Stats()
			select {
			case <-done:
				return
			default:
			}
		}
	})
	var got []frame.ID
	for last := (frame.ID{}); len(got) < frames && !t.Failed(); {
		for _, i := range s.IDs(last, 16) {
			if m, err := s.Get(i); err != nil || !reflect.DeepEqual(m.Wire(), message(i, 2000).Wire()) {
				t.Fatalf("get %s: %v, or another frame", i, err)
			}
			got, last = append(got, i), i
		}
		if err := s.Remove(last); err != nil {
			t.Fatal(err)
		}
	}
	wg.Wait()
	for n, i := range got {
		if want := id(1, uint64(n+1)); i != want {
			t.Fatalf("drained %s, want %s", i, want)
		}
	}
	if st := s.Stats(); st.Frames != 0 || st.Bytes != 0 || st.Errors != 0 {
		t.Errorf("stats are %+v", st)
	}
}
