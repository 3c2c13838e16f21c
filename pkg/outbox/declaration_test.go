package outbox

import (
	"slices"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"framekeeper/pkg/frame"
)

// Every word a metric may show is known beforehand, and a reason without one
// would be a loss that is not counted.
func TestLossKinds(t *testing.T) {
	kinds := LossKinds()
	for _, kind := range kinds {
		if kind == "" || kind == "other" {
			t.Errorf("got kind %q, want one word that says what", kind)
		}
	}
	if !slices.IsSorted(kinds) || len(slices.Compact(kinds)) != len(kinds) {
		t.Errorf("got %v, want each once, in order", kinds)
	}
}

func TestLossesAreCountedByKind(t *testing.T) {
	o := newLog(7, 3000, zerolog.Nop())
	addFrames(t, o, 10)
	lost := o.Losses()
	if len(lost) != 1 || lost["memory_full"] == 0 || lost["memory_full"] != o.Stats().Dropped {
		t.Errorf("got %v, want the %d dropped for want of memory", lost, o.Stats().Dropped)
	}
	o.resume(frame.ID{})
	if n := o.Losses()["redis_lost"]; n != 0 {
		t.Errorf("got %d lost by Redis, want none: it never had them", n)
	}
}

// A night without a subscriber is no fault of the box: it has a kind of its own, and is
// not logged.
func TestFramesWithoutReceiversAreNoShortageOfMemory(t *testing.T) {
	var log strings.Builder
	o := newLog(7, 3000, zerolog.New(&log))
	o.setMemoryOnly(true)
	addFrames(t, o, 10)
	lost := o.Losses()
	if len(lost) != 1 || lost["unheard"] == 0 || lost["unheard"] != o.Stats().Dropped {
		t.Errorf("got %v, want the %d dropped for want of receivers", lost, o.Stats().Dropped)
	}
	if log.Len() > 0 {
		t.Errorf("it was logged:\n%s", log.String())
	}
	if loss := o.items[0]; !loss.isLost() || !strings.Contains(loss.reason, "no subscriber") {
		t.Errorf("got the loss %+v, want its reason", loss)
	}
	o.setMemoryOnly(false)
	addFrames(t, o, 1)
	if lost = o.Losses(); lost["memory_full"] != 1 {
		t.Errorf("got %v, want one for want of memory since somebody listens", lost)
	}
}

func addFrames(t *testing.T, o *Log, n int) {
	t.Helper()
	for range n {
		if _, err := o.Add(Options{}, func(id frame.ID) (*frame.Message, error) {
			return frame.NewMessage(frame.Header{Camera: "c", ID: id, Status: frame.StatusOK}, make([]byte, 1000))
		}); err != nil {
			t.Fatal(err)
		}
	}
}
