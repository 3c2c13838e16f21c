package spool

import (
	"errors"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"testing"
	"time"

	"framekeeper/pkg/frame"
)

// model is a spool as anybody would write it who had no disk.
type model struct {
	max     int64
	frames  map[frame.ID]modelFrame
	damaged map[frame.ID]bool
}

type modelFrame struct {
	size int
	at   time.Time
}

func (m *model) ids() []frame.ID {
	ids := make([]frame.ID, 0, len(m.frames))
	for i := range m.frames {
		ids = append(ids, i)
	}
	slices.SortFunc(ids, frame.ID.Compare)
	return ids
}

func blocks(i frame.ID, size int) int64 {
	return int64((prefixSize + message(i, size).Size() + 4095) / 4096 * 4096)
}

func (m *model) bytes() (n int64) {
	for i, f := range m.frames {
		n += blocks(i, f.size)
	}
	return n
}

func (m *model) put(i frame.ID, size int, at time.Time) (lost []frame.ID) {
	if _, held := m.frames[i]; held {
		return nil
	}
	for m.bytes()+blocks(i, size) > m.max {
		oldest := m.ids()[0]
		if i.Less(oldest) {
			return append(lost, i)
		}
		delete(m.frames, oldest)
		lost = append(lost, oldest)
	}
	m.frames[i] = modelFrame{size, at}
	delete(m.damaged, i)
	return lost
}

func (m *model) expire(now time.Time, age time.Duration) (lost []frame.ID) {
	for _, i := range m.ids() {
		if now.Sub(m.frames[i].at) <= age {
			break
		}
		delete(m.frames, i)
		lost = append(lost, i)
	}
	return lost
}

// comparison does the same to a spool and to a model.
type comparison struct {
	*testing.T
	rng  *rand.Rand
	c    *clock
	cfg  Config
	s    *Spool
	m    *model
	next frame.ID
}

// operation returns what the spool says is lost, and what the model does.
type operation struct {
	name  string
	below int // of 100, how often
	do    func() (got, want []frame.ID)
}

func (r *comparison) operations() []operation {
	return []operation{
		{"put", 60, r.put}, {"remove", 70, r.remove}, {"sync", 80, r.sync}, {"expire", 86, r.expire},
		{"get", 92, r.get}, {"damage", 95, r.damage}, {"reopen", 98, r.reopen}, {"epoch", 100, r.epoch},
	}
}

func (r *comparison) put() (got, want []frame.ID) {
	i := r.next
	if r.rng.IntN(10) == 0 { // put back from what Redis lost
		i = id(i.Epoch, 1+r.rng.Uint64N(i.Seq))
	} else {
		r.next = r.next.Next()
	}
	size := 1 + r.rng.IntN(20000)
	return lostIDs(r, mustPut(r, r.s, message(i, size))), r.m.put(i, size, r.c.t)
}

func (r *comparison) remove() (got, want []frame.ID) {
	ids := r.m.ids()
	if len(ids) == 0 {
		return nil, nil
	}
	upTo := ids[r.rng.IntN(min(len(ids), 8))]
	if err := r.s.Remove(upTo); err != nil {
		r.Fatal(err)
	}
	for _, i := range ids {
		if !upTo.Less(i) {
			delete(r.m.frames, i)
		}
	}
	return nil, nil
}

func (r *comparison) sync() (got, want []frame.ID) {
	mustSync(r, r.s)
	return nil, nil
}

func (r *comparison) expire() (got, want []frame.ID) {
	r.c.advance(time.Duration(r.rng.IntN(600)) * time.Second)
	losses, err := r.s.Expire()
	if err != nil {
		r.Fatal(err)
	}
	return lostIDs(r, losses), r.m.expire(r.c.t, r.cfg.MaxAge)
}

func (r *comparison) get() (got, want []frame.ID) {
	checkGet(r.T, r.s, r.m, r.rng)
	return nil, nil
}

func (r *comparison) damage() (got, want []frame.ID) {
	ids := r.m.ids()
	if len(ids) == 0 {
		return nil, nil
	}
	i := ids[r.rng.IntN(len(ids))]
	if r.m.damaged[i] {
		return nil, nil // twice could be not at all
	}
	r.m.damaged[i] = true
	if err := rewrite(r.s.path(i), func(b []byte) []byte { b[r.rng.IntN(len(b))] ^= 1; return b }); err != nil {
		r.Fatal(err)
	}
	return nil, nil
}

func (r *comparison) reopen() (got, want []frame.ID) {
	mustClose(r, r.s)
	for i, f := range r.m.frames { // the test's clock has written them
		if err := os.Chtimes(r.s.path(i), f.at, f.at); err != nil {
			r.Fatal(err)
		}
	}
	s, losses, err := Open(r.cfg)
	if err != nil {
		r.Fatal(err)
	}
	r.s = s
	return lostIDs(r, losses), r.m.expire(r.c.t, r.cfg.MaxAge)
}

func (r *comparison) epoch() (got, want []frame.ID) {
	r.next = id(r.next.Epoch+1, 1)
	return nil, nil
}

func TestAgainstModel(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	c := newClock()
	cfg := config(t.TempDir())
	cfg.MaxBytes, cfg.MaxAge, cfg.Now = 40*8192, time.Hour, c.now
	m := &model{max: cfg.MaxBytes, frames: map[frame.ID]modelFrame{}, damaged: map[frame.ID]bool{}}
	r := &comparison{T: t, rng: rand.New(rand.NewPCG(seed, 1)), c: c, cfg: cfg, s: mustOpen(t, cfg), m: m, next: id(1, 1)}
	defer func() { mustClose(t, r.s) }()
	operations := r.operations()
	for step := range 1000 {
		pick := r.rng.IntN(100)
		op := operations[slices.IndexFunc(operations, func(o operation) bool { return pick < o.below })]
		if got, want := op.do(); !slices.Equal(got, want) {
			t.Fatalf("step %d, %s: lost %v, want %v", step, op.name, got, want)
		}
		if got, want := allIDs(r.s), m.ids(); !slices.Equal(got, want) {
			t.Fatalf("step %d, %s: held are %v, want %v", step, op.name, got, want)
		}
		if st := r.s.Stats(); st.Bytes != m.bytes() || st.Frames != len(m.frames) {
			t.Fatalf("step %d, %s: %d bytes in %d frames, want %d in %d", step, op.name, st.Bytes, st.Frames, m.bytes(), len(m.frames))
		}
		if step%100 == 0 && diskBytes(t, cfg.Dir) != m.bytes() {
			t.Fatalf("step %d, %s: %d bytes are on disk, want %d", step, op.name, diskBytes(t, cfg.Dir), m.bytes())
		}
	}
}

// checkGet reads any one of the held frames.
func checkGet(t *testing.T, s *Spool, m *model, rng *rand.Rand) {
	t.Helper()
	ids := m.ids()
	if len(ids) == 0 {
		return
	}
	i := ids[rng.IntN(len(ids))]
	if !m.damaged[i] {
		mustHold(t, s, message(i, m.frames[i].size))
		return
	}
	delete(m.frames, i)
	delete(m.damaged, i)
	if got, err := s.Get(i); !errors.Is(err, ErrCorrupt) || !reflect.ValueOf(got).IsNil() {
		t.Fatalf("get of the damaged %s: %v, want %v", i, err, ErrCorrupt)
	}
}
