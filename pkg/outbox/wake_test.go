package outbox

import (
	"testing"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/testkit"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/spool"
)

// wakesSpooler adds a frame of 1000 bytes and reports whether it wakes the spooler.
func wakesSpooler(t *testing.T, o *Log) bool {
	t.Helper()
	_, err := o.Add(Options{}, func(id frame.ID) (*frame.Message, error) {
		return frame.NewMessage(frame.Header{Camera: "testcam", ID: id, Status: frame.StatusOK}, make([]byte, 1000))
	})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-o.spoolable:
		return true
	default:
		return false
	}
}

// unused is a disk that nobody asks.
type unused struct{ Store }

// With sync always nothing is sent before it is on disk, so a frame that does
// not wake the spooler waits for the next second.
func TestEachFrameWakesTheSpoolerWithSyncAlways(t *testing.T) {
	for _, always := range []bool{true, false} {
		o := newLog(100, 1<<20, zerolog.Nop())
		o.cfg.DiskFirst = always
		o.store = unused{}
		o.setWritable(true)
		for n := range 3 {
			if got := wakesSpooler(t, o); got != always {
				t.Errorf("frame %d, always %v: got the spooler woken %v", n+1, always, got)
			}
		}
	}
}

// On a link that takes frames more slowly than they come, memory must be
// relieved before it is full.
func TestCrowdedMemoryWakesTheSpooler(t *testing.T) {
	o := newLog(100, 20_000, zerolog.Nop())
	o.setWritable(true)
	woken := false
	for !woken && o.Stats().Dropped == 0 {
		woken = wakesSpooler(t, o)
	}
	if !woken {
		t.Errorf("frames were lost and the spooler was not woken: %+v", o.Stats())
	}
	if st := o.Stats(); st.UnsentSize < 5000 {
		t.Errorf("the spooler is woken for %d bytes of 20000, want it left alone until memory is crowded", st.UnsentSize)
	}
}

// Before a stream that vanished is seeded again time passes, in which frames
// are as little taken as during any outage.
func TestFramesGoToDiskWhileTheStreamIsGone(t *testing.T) {
	s := newSpooled(t, t.TempDir(), 100, 40_000, 64<<20, false) // memory for about ten
	s.setWritable(true)
	a := newStreamWriter(s.Log)
	a.vanished()
	for range 10 {
		s.add(t, 4)
		s.onDisk(t)
	}
	if st := s.Stats(); st.Dropped != 0 {
		t.Errorf("%d frames were dropped although the disk had room", st.Dropped)
	}
}

// A disk that refuses must not stop the stream: Redis is there.
func TestSyncAlwaysGoesOnWithoutTheDisk(t *testing.T) {
	s := newSpooled(t, t.TempDir(), 100, 1<<20, 64<<20, true)
	s.setWritable(true)
	s.add(t, 1)
	s.onDisk(t)
	if err := s.spooler.store.(*spool.Spool).Close(); err != nil { // from now on it refuses
		t.Fatal(err)
	}
	s.add(t, 3)
	testkit.Eventually(t, "what the disk refused is sent all the same", func() bool {
		b, err := s.begin(batchItems, batchBytes, 0)
		if err != nil || b == nil {
			return false
		}
		defer b.fail()
		return len(b.items) == 4
	})
}

// hung is a disk that does not answer.
type hung struct {
	Store
	answer chan struct{}
}

func (h hung) IDs(frame.ID, int) []frame.ID { return nil }

func (h hung) Put(*frame.Message) ([]spool.Loss, error) {
	<-h.answer
	return nil, nil
}

func (h hung) Sync() ([]spool.Loss, error)   { return nil, nil }
func (h hung) Expire() ([]spool.Loss, error) { return nil, nil }

// A disk that hangs must not make requests wait until it answers: published frames give
// their room to answers.
func TestAHungDiskStarvesNoRequest(t *testing.T) {
	t.Parallel()
	o := newLog(100, 20_000, zerolog.Nop())
	disk := hung{answer: make(chan struct{})}
	s := NewSpooler(o, disk, nil, zerolog.Nop())
	addFrames(t, o, 15)
	done := make(chan struct{})
	go func() { defer close(done); s.step(time.Now()) }()
	defer func() { close(disk.answer); <-done }()
	testkit.Eventually(t, "the disk is asked", func() bool { return s.Hanging() > 0 })
	if room, _ := o.Room(10_000); room > 5_000 {
		t.Errorf("room for %d bytes at once, want answers to wait for the disk a while", room)
	}
	testkit.Eventually(t, "there is room all the same", func() bool { room, _ := o.Room(10_000); return room > 15_000 })
}
