package outbox

import (
	"testing"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/pkg/frame"
	"framekeeper/pkg/spool"
)

// A frame that is larger than the whole spool stays in memory, and does not keep those
// behind it there.
func TestAFrameTooLargeForTheSpoolHoldsUpNone(t *testing.T) {
	t.Parallel()
	frames := newLog(5, 1<<20, zerolog.Nop())
	s, _, err := spool.Open(spool.Config{Dir: t.TempDir(), MaxBytes: 20_000, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	spooler := NewSpooler(frames, s, nil, zerolog.Nop())
	for _, size := range []int{30_000, 1000, 1000} {
		if _, err := frames.Add(Options{}, func(id frame.ID) (*frame.Message, error) {
			return frame.NewMessage(frame.Header{Camera: "testcam", ID: id, Status: frame.StatusOK}, make([]byte, size))
		}); err != nil {
			t.Fatal(err)
		}
	}
	spooler.step(time.Now())
	if n := s.Stats().Frames; n != 2 {
		t.Errorf("%d frames are on disk, want the 2 that fit", n)
	}
	if u := frames.Stats().Unsent; u != 3 {
		t.Errorf("%d frames are unsent, want 3", u)
	}
}
