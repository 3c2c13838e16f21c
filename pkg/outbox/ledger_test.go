package outbox

import (
	"fmt"
	"strings"
	"testing"

	"framekeeper/pkg/frame"
	"framekeeper/pkg/spool"
)

func TestWhatWasGivenAboveTheStream(t *testing.T) {
	l := ledger{}
	l.give(id(100, 10))
	l.open(150) // a start that gave none
	l.give(id(200, 4))
	l.delivered(id(100, 8))
	l.delivered(id(200, 4))
	for _, c := range []struct {
		after, floor frame.ID
		want         string
	}{
		{frame.ID{}, frame.ID{}, "[{100-1 100-10} {200-1 200-4}]"},
		{id(100, 7), frame.ID{}, "[{100-8 100-10} {200-1 200-4}]"},
		{id(100, 10), frame.ID{}, "[{200-1 200-4}]"},
		{id(150, 0), frame.ID{}, "[{200-1 200-4}]"},
		{id(200, 4), frame.ID{}, "[]"},
		{id(999, 0), frame.ID{}, "[]"},
		{frame.ID{}, id(100, 9), "[{100-9 100-10} {200-1 200-4}]"},
		{id(100, 3), id(200, 0), "[{100-9 100-10} {200-1 200-4}]"}, // never sent, so not trimmed
		{frame.ID{}, id(200, 3), "[{100-9 100-10} {200-3 200-4}]"},
	} {
		l.floor = c.floor
		got := "["
		for i, s := range l.above(c.after) {
			got += fmt.Sprintf("%.*s{%s %s}", min(i, 1), " ", s.first, s.last)
		}
		if got += "]"; got != c.want {
			t.Errorf("above %s, trimmed below %s: got %s, want %s", c.after, c.floor, got, c.want)
		}
	}
}

// "clean" says that the IDs of all starts which the stream does not show are known.
func TestACleanStart(t *testing.T) {
	l := ledger{}
	for number, closed := range map[uint64]bool{100: true, 200: false, 300: true, 400: false} {
		l.open(number).closed = closed
	}
	for last, want := range map[frame.ID]bool{
		{}:         false, // the stream shows nothing, and the second start was killed
		id(100, 5): false,
		id(200, 5): false, // more may have been given above that
		id(300, 0): true,
		id(300, 9): true,
		id(250, 1): false, // somebody unknown has written it
		id(400, 2): true,  // ourselves
	} {
		if got := l.complete(last, 400); got != want {
			t.Errorf("the stream ends at %s: got clean %v, want %v", last, got, want)
		}
	}
}

func TestReasonsOfLosses(t *testing.T) {
	l := ledger{}
	l.addLoss(id(100, 5), id(100, 9), spool.ReasonAge)
	l.addLoss(id(100, 10), id(100, 12), spool.ReasonAge)
	l.addLoss(id(100, 20), id(100, 20), reasonMemory)
	if len(l.losses) != 2 {
		t.Errorf("got %+v, want neighbours of one reason joined", l.losses)
	}
	for _, c := range []struct {
		first, last uint64
		reason      string
		end         uint64
	}{
		{1, 4, "", 4}, {1, 30, "", 4}, {5, 30, spool.ReasonAge, 12}, {7, 8, spool.ReasonAge, 8}, {13, 30, "", 19}, {20, 30, reasonMemory, 20}, {21, 30, "", 30},
	} {
		if reason, end := l.reasonOf(id(100, c.first), id(100, c.last)); reason != c.reason || end != id(100, c.end) {
			t.Errorf("%d to %d: got %q up to %s, want %q up to %d", c.first, c.last, reason, end, c.reason, c.end)
		}
	}
	for n := range uint64(2 * maxSpans) {
		l.addLoss(id(200, 2*n+1), id(200, 2*n+1), fmt.Sprint(n%7))
	}
	if len(l.losses) > maxSpans {
		t.Errorf("%d losses are remembered, want at most %d", len(l.losses), maxSpans)
	}
}

func TestFilesOfMovedFrames(t *testing.T) {
	l := ledger{}
	l.moved(move{file: 100, minus: 4, epoch: 900})
	for file, want := range map[frame.ID]frame.ID{id(100, 5): id(900, 1), id(100, 30): id(900, 26), id(200, 5): id(200, 5)} {
		if got, old := l.idOf(file); got != want || old {
			t.Errorf("file %s: got %s, old %v, want %s", file, got, old, want)
		}
	}
	if _, old := l.idOf(id(100, 4)); !old {
		t.Error("a file that was sent before its epoch was moved: got new, want old")
	}
	l.moved(move{file: 100, minus: 10, epoch: 950})
	if got, _ := l.idOf(id(100, 30)); got != id(950, 20) {
		t.Errorf("moved twice: got %s, want 950-20", got)
	}
}

// The file of a frame that was sent under another ID may outlive all that is known of it: a
// disk did not let it be removed, or a power cut brought it back. It is not sent again.
func TestAMovedFrameIsKnownWhenItWasTrimmed(t *testing.T) {
	t.Parallel()
	var l ledger
	l.give(id(200, 4))
	l.give(id(300, 4))
	l.delivered(id(200, 4))
	l.moved(move{file: 100, epoch: 200})
	l.moved(move{file: 101, epoch: 300})
	l.raiseFloor(id(301, 7))
	l, damaged := parseLedger([]byte(strings.Join(l.lines(), "")))
	if damaged > 0 {
		t.Fatalf("%d lines are damaged", damaged)
	}
	if got, old := l.idOf(id(100, 3)); !old {
		t.Errorf("the file 100-3 has %s, which is to be sent; it was", got)
	}
	if got, old := l.idOf(id(101, 3)); old || got != id(300, 3) {
		t.Errorf("the file 101-3 has %s (old: %v), want 300-3, which was not sent", got, old)
	}
}
