package outbox

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"framekeeper/pkg/frame"
)

// exposure is one frame that was ever handed to a log: what the simulation knows of it
// from outside.
type exposure struct {
	n      uint64 // its number, which its image bears
	life   int
	at     time.Duration
	id     frame.ID // that it has now
	before frame.ID // that it had before it was moved; zero: it never was
	moved  int      // the life that moved it
	size   int64
	answer bool
	item   *Item
	logged bool // it is for the stream, or for a channel with delivery pubsub

	accepted   bool // the stream had it at some time
	acceptedAt time.Duration
	present    bool // the stream has it
	trimmed    bool // the writer had it trimmed, or the declaration that stood for it
	trimUnsure bool // and the reply to that was lost
	declared   bool // once, whatever became of the declaration
	dropped    bool // the spool returned it as a loss
	droppedAt  time.Duration
	tried      bool // an answer that Redis was given, whatever it said
	blinded    bool // a start could not know whether it waited on disk
	redisLost  bool // the stream lost it
	unseen     bool // or lost all that showed that it had had it
	silent     bool // the journal did not have that the stream had it when the process was killed
	unknown    bool // a kill or a power cut may have taken every trace of it
}

// uncertain reports whether the agent cannot know that the stream had the frame: a copy
// of it under another ID, or the word that it was lost, are no contradiction then.
func (x *exposure) uncertain() bool {
	return x.blinded || x.unknown && x.redisLost || x.silent && x.unseen
}

// simImage is the image of an exposure: its number, and as many bytes as are wanted.
func simImage(n uint64, size int) []byte {
	b := make([]byte, max(size, 8))
	binary.BigEndian.PutUint64(b, n)
	for i := 8; i < len(b); i++ {
		b[i] = byte(n + uint64(i))
	}
	return b
}

// simDeclared is a declaration that the stream had.
type simDeclared struct {
	first, last frame.ID
	reason      string
	at          time.Duration
}

// simStarted is the first entry of an epoch.
type simStarted struct {
	id, previous frame.ID
	clean        bool
}

// simLedger is the oracle: it sees what goes into the code under test and what the
// world outside sees, and compares. The first contradiction ends the run.
type simLedger struct {
	world *simWorld

	all       []*exposure            // by number
	given     map[frame.ID]*exposure // who has, or had, an ID
	declared  []simDeclared
	started   map[uint64]simStarted
	sentOnce  map[frame.ID]uint64 // under which ID which exposure was sent to the stream
	heardOf   map[uint64]frame.ID // published exposures with a subscriber, and their IDs
	answered  map[string]int      // requests, and how many answers they had
	onChannel []simDeclared       // declarations published with a subscriber
	trims     []*exposure         // by the last command
	fsyncs    []time.Duration     // of the journal
	starts    []time.Duration
	stateGap  int // frames below this number may be forgotten: the state was lost after them
}

func newSimLedger(w *simWorld) *simLedger {
	return &simLedger{
		world: w, given: map[frame.ID]*exposure{}, started: map[uint64]simStarted{},
		sentOnce: map[frame.ID]uint64{}, heardOf: map[uint64]frame.ID{}, answered: map[string]int{},
	}
}

// violation ends the run.
type violation string

// fail ends the run with what contradicts the promise.
func (l *simLedger) fail(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	l.world.trace.note("VIOLATION %s", text)
	panic(violation(text))
}

// captured notes a frame that the log took.
func (l *simLedger) captured(x *exposure) {
	if y := l.given[x.id]; y != nil {
		l.fail("ID %s was given to frame %d, and now to frame %d", x.id, y.n, x.n)
	}
	l.given[x.id] = x
	l.all = append(l.all, x)
	l.world.counts.frames++
}

// moved notes that frames have the IDs of another epoch. What was moved before, and is
// in no journal, may be moved again.
func (l *simLedger) moved(ids span, to uint64) {
	l.world.trace.note("%s to %s become %d-1 and so on", ids.first, ids.last, to)
	l.world.life.renumbered = l.world.life.saves
	for id := ids.first; !ids.last.Less(id); id = id.Next() {
		x, now := l.given[id], frame.ID{Epoch: to, Seq: id.Seq - ids.first.Seq + 1}
		switch {
		case x == nil:
		case x.id == id:
			l.renumbered(id, now)
			x.before, x.moved = id, l.world.lives
		case !x.uncertain():
			l.fail("frame %d, which was %s and is %s, becomes %s", x.n, id, x.id, now)
		default:
			l.given[now] = x
		}
	}
}

// forgets takes back changes of IDs that no journal has, when the process that made them
// is gone; of those that were used nobody knows any more.
func (l *simLedger) forgets(life *simLife) {
	for _, x := range l.all {
		if x.moved != life.number || life.saves > life.renumbered {
			continue
		}
		x.blinded = true
		if _, used := l.sentOnce[x.id]; !used && !x.declared {
			x.id = x.before
		}
	}
}

// renumbered notes that an exposure has another ID.
func (l *simLedger) renumbered(from, to frame.ID) {
	x := l.given[from]
	if x == nil || from == to {
		return
	}
	if y := l.given[to]; y != nil && y != x {
		l.fail("frame %d (%s) is renumbered to %s, which frame %d has had", x.n, from, to, y.n)
	}
	x.id = to
	l.given[to] = x
}

// content is the exposure that a message carries, and checks that it is whole.
func (l *simLedger) content(m *frame.Message) *exposure {
	image := m.Image()
	if len(image) < 8 {
		l.fail("frame %s has lost its image", m.Header.ID)
	}
	n := binary.BigEndian.Uint64(image)
	if n >= uint64(len(l.all)) || !bytes.Equal(image, simImage(n, len(image))) || m.Header.SensorSeq != n {
		l.fail("frame %s has the image of frame %d and the header of frame %d", m.Header.ID, n, m.Header.SensorSeq)
	}
	return l.all[n]
}

// sent checks what is on its way to the stream, whether it is accepted or not.
func (l *simLedger) sent(id frame.ID, m *frame.Message) {
	if m.Header.ID != id {
		l.fail("entry %s has the header of %s", id, m.Header.ID)
	}
	if m.Header.Status != frame.StatusOK {
		return
	}
	x := l.content(m)
	if n, is := l.sentOnce[id]; is && n != x.n {
		l.fail("ID %s was sent with frame %d and with frame %d", id, n, x.n)
	}
	l.sentOnce[id] = x.n
	if l.given[id] != x {
		l.renumbered(x.id, id)
	}
	if x.answer && x.life == l.world.lives && !l.world.mayEnter(x) {
		l.fail("answer %s enters the stream before it was published or refused", id)
	}
}

// accepted notes an entry of the stream.
func (l *simLedger) accepted(e simEntry) {
	h := e.msg.Header
	switch h.Status {
	case frame.StatusOK:
		x := l.content(e.msg)
		if !x.accepted {
			x.acceptedAt = l.world.now
		}
		x.accepted, x.present, x.id = true, true, e.id
	case frame.StatusDropped:
		l.declares(h)
		l.declared = append(l.declared, simDeclared{h.First, h.Last, h.Reason, l.world.now})
	case frame.StatusStarted:
		s := simStarted{id: e.id, clean: h.Clean != nil && *h.Clean}
		if h.Previous != nil {
			s.previous = *h.Previous
		}
		if old, again := l.started[e.id.Epoch]; again && (s.clean && !old.clean || old.previous.Less(s.previous)) {
			l.fail("epoch %d starts as %+v and as %+v", e.id.Epoch, old, s)
		}
		l.started[e.id.Epoch] = s
		if l.world.life.spool == nil {
			l.blind()
		}
	default:
		l.fail("entry %s has status %q", e.id, h.Status)
	}
}

// declares checks a declaration against what is known of the frames.
func (l *simLedger) declares(h frame.Header) {
	if h.ID != h.Last || h.First.Epoch != h.Last.Epoch || h.Last.Less(h.First) || h.Count != h.Last.Seq-h.First.Seq+1 {
		l.fail("declaration %s is not one: %s to %s, %d frames", h.ID, h.First, h.Last, h.Count)
	}
	for id := h.First; !h.Last.Less(id); id = id.Next() {
		x := l.given[id]
		switch {
		case x == nil:
			l.fail("%s declares %s, which no frame had (%s)", h.ID, id, h.Reason)
		case x.id != id && !x.uncertain():
			l.fail("%s declares %s, which frame %d had before it became %s (%s)", h.ID, id, x.n, x.id, h.Reason)
		case !x.logged:
			l.fail("%s declares %s, which was an answer that no log has (%s)", h.ID, id, h.Reason)
		case x.present && x.id == id:
			l.fail("%s declares %s, which is in the stream (%s)", h.ID, id, h.Reason)
		case l.world.onDisk(id) && !x.accepted && !x.declared && !wasMemory(h.Reason):
			l.fail("%s declares %s, which is on disk (%s)", h.ID, id, h.Reason)
		case !x.uncertain() && !l.justified(x, h.Reason):
			l.fail("%s declares %s as lost for a reason that is none: %s", h.ID, id, h.Reason)
		}
		x.declared = true
	}
}

// wasMemory reports whether memory was short: a frame may be lost to that while it is
// being written to disk.
func wasMemory(reason string) bool {
	return strings.Contains(reason, reasonMemory) || strings.Contains(reason, reasonNoReceivers)
}
