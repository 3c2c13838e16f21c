package outbox

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/rs/zerolog"

	"framekeeper/pkg/frame"
	"framekeeper/pkg/spool"
)

const modelEpoch = 7

// model is the simplest stream there can be: what Redis has, in order, and
// what was ever given out.
type model struct {
	t       *testing.T
	seed    uint64
	log     []string
	rnd     *rand.Rand
	frames  *Log
	limit   int64
	largest int64

	stream  []entry // Redis's
	disk    *modelDisk
	given   uint64  // IDs 1 to given
	answers []*Item // not yet published
	forgot  bool    // Redis lost something
}

// entry is a frame, or the declaration that first to seq are lost.
type entry struct {
	first, seq uint64
	frame      bool
}

func newModel(t *testing.T, seed uint64, limit int64) *model {
	m := &model{
		t: t, seed: seed, rnd: rand.New(rand.NewPCG(seed, 1)), limit: limit,
		frames: newLog(modelEpoch, limit, zerolog.Nop()),
	}
	if seed%2 == 1 {
		m.disk = &modelDisk{files: map[frame.ID]*frame.Message{}}
		m.frames.attach(m.disk, nil)
	}
	return m
}

// modelDisk is the simplest spool there can be.
type modelDisk struct {
	Store
	files map[frame.ID]*frame.Message
	drops frame.ID // this one is dropped while it is read
	log   *Log
}

func (d *modelDisk) IDs(frame.ID, int) []frame.ID { return nil }

func (d *modelDisk) Get(id frame.ID) (*frame.Message, error) {
	m := d.files[id]
	switch {
	case d.drops == id && m != nil:
		d.log.spoolDrops([]spool.Loss{{First: id, Last: id, Reason: spool.ReasonFull}})
		delete(d.files, id)
		if id.Seq%2 == 0 {
			return nil, spool.ErrGone
		}
	case m == nil:
		return nil, spool.ErrGone
	case id.Seq%7 == 3:
		return nil, spool.ErrCorrupt
	}
	return m, nil
}

// write has the log's frames go to disk, but for one that the disk is too full for.
func (m *model) write() {
	items := m.frames.toSpool(1+m.rnd.IntN(8), true)
	for i := range items {
		if m.rnd.IntN(6) == 0 {
			items[i].refused = spool.ReasonFull
			continue
		}
		m.disk.files[items[i].id] = items[i].msg
	}
	m.frames.spooled(items)
	if upTo := m.frames.takeRemovable(); !upTo.IsZero() {
		for id := range m.disk.files {
			if !upTo.Less(id) {
				delete(m.disk.files, id)
			}
		}
	}
	m.note("write %d", len(items))
}

// drop makes room on the disk.
func (m *model) drop() {
	for _, id := range slices.SortedFunc(maps.Keys(m.disk.files), frame.ID.Compare) {
		if m.rnd.IntN(3) > 0 {
			break
		}
		delete(m.disk.files, id)
		m.note("drop %s", id)
		m.frames.spoolDrops([]spool.Loss{{First: id, Last: id, Reason: spool.ReasonFull}})
	}
}

// onDisk is one step of the disk, where there is one.
func (m *model) onDisk() {
	if m.disk == nil {
		return
	}
	switch m.rnd.IntN(4) {
	case 0:
		m.drop()
	case 1:
		m.disk.log, m.disk.drops = m.frames, frame.ID{}
		if len(m.frames.items) > 0 {
			m.disk.drops = m.frames.items[m.rnd.IntN(len(m.frames.items))].id
		}
	default:
		m.write()
	}
	m.bounded()
}

func (m *model) failf(format string, args ...any) {
	m.t.Helper()
	tail := m.log[max(0, len(m.log)-40):]
	m.t.Fatalf("seed %d: %s\nlast steps: %q\nstream: %v", m.seed, fmt.Sprintf(format, args...), tail, m.stream)
}

func (m *model) note(format string, args ...any) { m.log = append(m.log, fmt.Sprintf(format, args...)) }

func (m *model) add() {
	image := make([]byte, m.rnd.IntN(900))
	answer := m.rnd.IntN(4) == 0
	item, err := m.frames.Add(Options{Answer: answer}, func(id frame.ID) (*frame.Message, error) {
		return frame.NewMessage(frame.Header{Camera: "c", ID: id, Status: frame.StatusOK}, image)
	})
	if err != nil {
		m.failf("add: %v", err)
	}
	m.given++
	if item.msg.Header.ID != (frame.ID{Epoch: modelEpoch, Seq: m.given}) {
		m.failf("frame %d got ID %s", m.given, item.msg.Header.ID)
	}
	m.largest = max(m.largest, item.Size())
	if answer {
		m.answers = append(m.answers, item)
	}
	m.note("add %d", m.given)
	m.bounded()
}

func (m *model) bounded() {
	m.frames.mu.Lock()
	fixed := m.frames.sum(awaitingPublish, inFlight) // these cannot leave
	sent := m.frames.held[inMemoryAndDisk][inFlight] // and this leaves by itself
	m.frames.mu.Unlock()
	if s := m.frames.Stats(); s.MemorySize > max(m.limit, fixed)+sent+m.largest {
		m.failf("%d bytes are in memory, more than %d and one frame", s.MemorySize, m.limit)
	}
}

func (m *model) publish(all bool) {
	for len(m.answers) > 0 {
		m.frames.Published(m.answers[0])
		m.answers = m.answers[1:]
		if !all {
			return
		}
	}
}

func (m *model) last() uint64 {
	if len(m.stream) == 0 {
		return 0
	}
	return m.stream[len(m.stream)-1].seq
}

// xadd is Redis's rule: an ID that is not above the last one is refused.
func (m *model) xadd(e entry) bool {
	if len(m.stream) > 0 && e.seq <= m.last() {
		return false
	}
	m.stream = append(m.stream, e)
	return true
}

// batch sends one batch the way the StreamWriter does, and lets it fail: before,
// in the middle of, or after what Redis did, between other goroutines' Adds.
func (m *model) batch() {
	b := m.begin(1+m.rnd.IntN(5), int64(200+m.rnd.IntN(3000)))
	if b == nil {
		return
	}
	defer m.bounded()
	defer b.fail()
	adds := taken(b)
	m.note("batch %v", adds)
	for range m.rnd.IntN(6) {
		m.add() // while it is under way
		m.onDisk()
	}
	switch m.rnd.IntN(6) {
	case 0: // nothing arrived
		m.note("lost request")
		b.fail()
		m.reconnect()
	case 1: // all arrived, the reply did not
		m.note("lost reply")
		for _, e := range adds {
			m.xadd(e)
		}
		b.fail()
		m.reconnect()
	case 2: // one by one, and the connection ends in between
		stop := m.rnd.IntN(len(adds) + 1)
		m.note("one by one, up to %d", stop)
		for _, e := range adds[:stop] {
			m.oneByOne(b, e)
		}
		b.fail()
		m.reconnect()
	default:
		for _, e := range adds {
			if !m.xadd(e) {
				m.failf("%v was refused", e)
			}
		}
		b.commit(len(adds))
	}
}

func (m *model) begin(n int, size int64) *batch {
	ceiling := int64(0)
	if m.rnd.IntN(20) == 0 {
		ceiling = 700
	}
	b, err := m.frames.begin(n, size, ceiling)
	if err != nil {
		m.failf("begin: %v", err)
	}
	return b
}

// taken is what a batch's items add to the stream.
func taken(b *batch) (adds []entry) {
	for _, e := range b.entries {
		h := e.msg.Header
		if h.Status == frame.StatusDropped {
			adds = append(adds, entry{h.First.Seq, h.Last.Seq, false})
		} else {
			adds = append(adds, entry{h.ID.Seq, h.ID.Seq, h.Status == frame.StatusOK})
		}
	}
	return adds
}

func (m *model) oneByOne(b *batch, e entry) {
	m.xadd(e) // refused: known already
	b.commit(1)
	if m.rnd.IntN(3) == 0 {
		m.add()
	}
}

// reconnect is a new session's look at the stream.
func (m *model) reconnect() {
	last := frame.ID{}
	if len(m.stream) > 0 {
		last = frame.ID{Epoch: modelEpoch, Seq: m.last()}
	}
	m.frames.resume(last)
	m.note("resume %d", m.last())
	m.bounded()
}

// forget is a Redis that comes back with less than it had.
func (m *model) forget() {
	keep := 0
	m.forgot = true
	if m.rnd.IntN(2) == 0 {
		keep = m.rnd.IntN(len(m.stream) + 1)
	}
	m.stream = slices.Clone(m.stream[:keep])
	m.note("Redis forgets all but %d", keep)
	m.reconnect()
}

// settle lets everything through and checks the promise: every ID is in the
// stream, once and in order, as a frame or within a declared loss.
func (m *model) settle() {
	m.publish(true)
	m.reconnect()
	for {
		b := m.begin(16, 1<<20)
		if b == nil {
			break
		}
		for _, e := range taken(b) {
			m.must(e)
		}
		b.commit(len(b.entries))
	}
	next := uint64(1)
	for _, e := range m.stream {
		if e.seq == 0 { // "started"
			continue
		}
		if e.first != next {
			m.failf("after %d comes %v: undeclared loss, or declared twice", next-1, e)
		}
		next = e.seq + 1
	}
	if next != m.given+1 {
		m.failf("the stream ends at %d, %d were given", next-1, m.given)
	}
	s := m.frames.Stats()
	if s.Unsent != 0 || s.Added != m.given || s.Sent+s.Dropped != s.Added {
		m.failf("stats %+v, want nothing unsent and sent+dropped to be the %d added", s, m.given)
	}
	frames := uint64(0)
	for _, e := range m.stream {
		if e.frame {
			frames++
		}
	}
	if !m.forgot && s.Sent != frames {
		m.failf("%d frames are counted as sent, the stream has %d", s.Sent, frames)
	}
	if s.Durable.Seq != m.given {
		m.failf("durable is %s, want %d", s.Durable, m.given)
	}
}

func (m *model) must(e entry) {
	if !m.xadd(e) {
		m.failf("%v was refused by a stream that ends at %d", e, m.last())
	}
}

// run does 150 things at random.
func (m *model) run() {
	for range 150 {
		switch m.rnd.IntN(14) {
		case 0, 1, 2, 3:
			m.add()
		case 4:
			m.publish(m.rnd.IntN(2) == 0)
		case 5:
			if m.rnd.IntN(4) == 0 {
				m.forget()
			}
		case 6:
			m.reconnect()
		case 7, 8:
			m.onDisk()
		default:
			m.batch()
		}
	}
	m.settle()
}

// Frames of one sequence are in the stream or declared lost, whatever Redis,
// the connection, the disk and the memory's bound do.
func TestLogAgainstAModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(400) {
		newModel(t, seed, int64(1500+500*(seed%20))).run()
	}
}

// What the package's comment says of an item's states is what happens: nothing else,
// and all of it.
func TestTransitions(t *testing.T) {
	t.Parallel()
	seen := map[state]map[state]int{}
	for seed := range uint64(300) {
		m := newModel(t, 2*seed+1, int64(1500+500*(seed%20)))
		m.frames.watch = func(from, to state) {
			if !slices.Contains(transitions[from], to) {
				m.failf("%s became %s, which the table does not have", from, to)
			}
			if seen[from] == nil {
				seen[from] = map[state]int{}
			}
			seen[from][to]++
		}
		m.run()
	}
	for from, all := range transitions {
		for _, to := range all {
			if seen[from][to] == 0 {
				t.Errorf("%s never became %s", from, to)
			}
		}
	}
}

// A batch that never ends must not leave everything that follows in memory.
func TestABatchUnderWayDoesNotLiftTheBound(t *testing.T) {
	t.Parallel()
	m := newModel(t, 1, 20_000)
	for range 20 {
		m.add()
	}
	m.publish(true)
	b := m.begin(4, 1<<20)
	if len(b.items) != 4 {
		t.Fatalf("%d items in the batch, want 4", len(b.items))
	}
	for range 1000 {
		m.add() // checks the bound
	}
	b.fail()
	m.settle()
}
