package outbox

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/rs/zerolog"

	"framekeeper/pkg/frame"
	"framekeeper/pkg/spool"
)

// A frame that was renumbered, delivered, and lost by Redis goes back to the spool under
// the name that it had there: files are removed in order up to one, and under its new ID
// it would take those with it that are still to be sent.
func TestALostFrameGoesWhereItWasOnDisk(t *testing.T) {
	t.Parallel()
	s, _, err := spool.Open(spool.Config{Dir: t.TempDir(), MaxBytes: 1 << 20, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	for seq := range uint64(3) {
		m, err := frame.NewMessage(frame.Header{Camera: "testcam", ID: id(100, seq+1), Status: frame.StatusOK}, make([]byte, 100))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Put(m); err != nil {
			t.Fatal(err)
		}
	}
	frames := newLog(300, 1<<20, zerolog.Nop())
	frames.attach(s, nil)
	if changed, err := frames.renumber(overtaken{last: id(200, 5)}); err != nil || !changed {
		t.Fatalf("renumber = %v, %v; want a change", changed, err)
	}
	b, err := frames.begin(1, 1<<20, 0)
	if err != nil || b == nil || b.entries[0].id != id(301, 1) {
		t.Fatalf("the first is %+v (%v), want 301-1", b, err)
	}
	b.commit(1)
	frames.resume(id(200, 5))
	items := frames.toSpool(10, true)
	if len(items) != 1 || items[0].id != id(100, 1) {
		t.Errorf("%+v goes to disk, want 100-1", items)
	}
}

// What a blind start has passed is declared as far as Redis lost it, and sent as far as
// it is on disk.
func TestWhatRedisLostOfAnOvertakenEpochIsDeclared(t *testing.T) {
	t.Parallel()
	frames := newLog(300, 1<<20, zerolog.Nop())
	frames.ledger.give(id(100, 9))
	frames.ledger.delivered(id(100, 7))
	changed, err := frames.renumber(overtaken{last: id(200, 5), had: map[uint64]frame.ID{100: id(100, 4)}})
	if err != nil || !changed {
		t.Fatalf("renumber = %v, %v; want a change", changed, err)
	}
	frames.resume(id(200, 5))
	b, err := frames.begin(10, 1<<20, 0)
	if err != nil || b == nil || len(b.entries) < 2 {
		t.Fatalf("got %+v, %v; want two declarations", b, err)
	}
	for i, want := range []struct {
		last   frame.ID
		count  uint64
		reason string
	}{{id(301, 3), 3, reasonRedisLost}, {id(302, 2), 2, reasonRestart}} {
		h := b.entries[i].msg.Header
		if h.Status != frame.StatusDropped || h.Last != want.last || h.Count != want.count || h.Reason != want.reason {
			t.Errorf("entry %d is %+v, want %+v", i, h, want)
		}
	}
}

// On the channel only the journal knows what was lost. A file that is there all the same
// is sent, and what is beside it declared.
func TestLossesBesideAFileAreDeclared(t *testing.T) {
	t.Parallel()
	s, _, err := spool.Open(spool.Config{Dir: t.TempDir(), MaxBytes: 1 << 20, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	m, err := frame.NewMessage(frame.Header{Camera: "testcam", ID: id(100, 3), Status: frame.StatusOK}, make([]byte, 100))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(m); err != nil {
		t.Fatal(err)
	}
	frames := NewLog(LogConfig{Camera: "testcam", Epoch: 300, Limit: 1 << 20, Log: zerolog.Nop()})
	frames.ledger.give(id(100, 5))
	frames.ledger.addLoss(id(100, 1), id(100, 5), reasonMemory)
	frames.attach(s, nil)
	b, err := frames.begin(10, 1<<20, 0)
	if err != nil || b == nil {
		t.Fatalf("got %+v, %v", b, err)
	}
	var got []string
	for _, e := range b.entries {
		h := e.msg.Header
		got = append(got, fmt.Sprintf("%s %s %s", h.Status, h.First, h.ID))
	}
	if want := []string{"dropped 100-1 100-2", "ok  100-3", "dropped 100-4 100-5"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// asked is a stream's connection that counts how often it is asked for an epoch's end.
type asked struct {
	streamConn
	end   frame.ID // that there is of earlier epochs
	times int
}

func (a *asked) EpochEnd(_ context.Context, epoch uint64) (frame.ID, error) {
	if a.times++; epoch < a.end.Epoch {
		return frame.ID{}, nil
	}
	return a.end, nil
}

// A stranger's entries may be of an epoch each: a start asks for the epochs that it knows,
// not for those.
func TestAStartAsksForKnownEpochsOnly(t *testing.T) {
	t.Parallel()
	frames := newLog(300, 1<<20, zerolog.Nop())
	for epoch := range uint64(3) {
		frames.ledger.give(id(100+epoch, 9))
	}
	conn := &asked{end: id(101, 4)}
	o, err := newStreamWriter(frames).overtaken(t.Context(), conn, id(1_767_225_602_727, 0))
	if err != nil || conn.times != 2 || o.had[101] != id(101, 4) {
		t.Errorf("got %+v, %v after asking %d times, want the end of 101 after 2", o, err, conn.times)
	}
}

// An epoch of which Redis loses what it had, after the rest was moved, does not take the
// rest's files with it.
func TestFilesStayWithTheFramesThatWereMoved(t *testing.T) {
	t.Parallel()
	frames := newLog(300, 1<<20, zerolog.Nop())
	frames.ledger.moved(move{file: 100, minus: 4, epoch: 201}) // by an earlier start
	frames.ledger.give(id(201, 3))
	frames.ledger.delivered(id(100, 4))
	if changed, err := frames.renumber(overtaken{last: id(250, 0)}); err != nil || !changed {
		t.Fatalf("renumber = %v, %v; want a change", changed, err)
	}
	i, _ := frames.ledger.find(frames.epoch)
	want := id(frames.ledger.epochs[i-1].number, 2) // the highest before the log's own
	if got, old := frames.ledger.idOf(id(100, 6)); old || got != want {
		t.Errorf("the file 100-6 has %s (old: %v), want %s", got, old, want)
	}
}

// A kill loses what the journal does not have yet. That the stream has come to a later
// start says the same: what was before it was sent, and is not declared when Redis has
// lost all.
func TestWhatALaterStartPassedWasSent(t *testing.T) {
	t.Parallel()
	frames := newLog(300, 1<<20, zerolog.Nop())
	frames.journal = &Journal{start: ledger{epochs: []epoch{{number: 100, given: 9, sent: 2}, {number: 200, given: 5}}}}
	frames.ledger = frames.journal.start.clone()
	frames.ledger.open(300)
	frames.resume(id(200, 5))
	frames.trimmed(id(200, 3))
	frames.resume(frame.ID{})
	b, err := frames.begin(10, 1<<20, 0)
	if err != nil || b == nil || len(b.entries) == 0 {
		t.Fatalf("got %+v, %v; want a declaration", b, err)
	}
	if h := b.entries[0].msg.Header; h.First != id(200, 3) || h.Last != id(200, 5) {
		t.Errorf("the first entry is %+v, want 200-3 to 200-5 declared", h)
	}
}
