package outbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/linktest"
	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/redisconn"
	"framekeeper/pkg/spool"
)

// spooled is a log with a spool, without a link: what happens while Redis
// is away.
type spooled struct {
	*Log
	spooler *Spooler
	image   []byte
	stop    func()
}

func newSpooled(t *testing.T, dir string, epoch uint64, retain, size int64, always bool) *spooled {
	t.Helper()
	log := zerolog.Nop()
	o := newLog(epoch, retain, log)
	o.cfg.DiskFirst = always
	s, losses, err := spool.Open(spool.Config{Dir: dir, MaxBytes: size, MaxAge: time.Hour, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	sp := &spooled{Log: o, spooler: NewSpooler(o, s, losses, log), image: bytes.Repeat([]byte("x"), 4000)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- sp.spooler.Run(ctx) }()
	stopped := false
	sp.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		<-done
		if err := s.Close(); err != nil {
			t.Errorf("close spool: %v", err)
		}
	}
	t.Cleanup(sp.stop)
	return sp
}

func (s *spooled) add(t *testing.T, n int) {
	t.Helper()
	for range n {
		_, err := s.Add(Options{}, func(id frame.ID) (*frame.Message, error) {
			return frame.NewMessage(frame.Header{Camera: "testcam", ID: id, Status: frame.StatusOK}, s.image)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// lookEvery sets how soon a batch without an answer counts as stuck. A
// busy machine may make any batch late.
func (s *spooled) lookEvery(d time.Duration) {
	s.progress.mu.Lock()
	defer s.progress.mu.Unlock()
	s.progress.every = d
}

// onDisk waits until everything is.
func (s *spooled) onDisk(t *testing.T) {
	t.Helper()
	testkit.Eventually(t, "everything unsent is on disk", func() bool { _, all := s.Persisted(); return all })
}

// drainTo links the log to a server and waits until all is there.
func (s *spooled) drainTo(t *testing.T, server *redistest.Server) *StreamWriter {
	t.Helper()
	return s.drainBy(t, testkit.Fast(server.URL()))
}

func (s *spooled) drainBy(t *testing.T, cfg redisconn.Config) *StreamWriter {
	t.Helper()
	a := newStreamWriter(s.Log)
	h := linktest.Listen(t, cfg, func(c *datatransfer.LinkConfig) {
		c.Admit = func(ctx context.Context, ses *datatransfer.Session) error {
			return a.Admit(ctx, ses)
		}
		c.Workers = []datatransfer.Worker{a.Worker()}
	})
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
	defer cancel()
	if err := s.Flush(ctx); err != nil {
		t.Fatalf("not drained: %v; %+v; stream %+v; link %+v", err, s.Stats(), a.Status(), h.Status())
	}
	return a
}

// spooledAll waits until the disk was offered everything.
func (s *spooled) spooledAll(t *testing.T) {
	t.Helper()
	testkit.Eventually(t, "the spool has caught up", func() bool { return s.spooler.Stats().Newest == s.Stats().Newest })
}

// flushAll waits until Redis has everything.
func flushAll(t *testing.T, s *spooled, a *StreamWriter) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
	defer cancel()
	if err := s.Flush(ctx); err != nil {
		t.Fatalf("not drained: %v, %+v, %+v", err, s.Stats(), a.Status())
	}
}

func fileNames(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // the Spooler removes what is delivered meanwhile
			return nil
		}
		if err == nil && d.Type().IsRegular() {
			names = append(names, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestAnOutageLargerThanMemoryGoesToDisk(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	dir := t.TempDir()
	s := newSpooled(t, dir, 100, 40_000, 64<<20, false) // memory for about ten
	for range 50 {
		s.add(t, 4)
		s.onDisk(t) // frames come slower than a disk writes
	}
	if st := s.Stats(); st.MemorySize > 40_000 || st.Dropped != 0 {
		t.Errorf("stats %+v, want at most 40000 bytes in memory and nothing dropped", st)
	}
	server := redistest.Start(t)
	s.drainTo(t, server)
	expect(t, statuses(t, server.Client()), append([]string{"started"}, series(1, 200)...)...)
	testkit.Eventually(t, "the spool is empty", func() bool { return s.spooler.Stats().Frames == 0 })
}

func TestFramesOfAnEarlierStartGoFirst(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	dir := t.TempDir()
	first := newSpooled(t, dir, 100, 1<<20, 64<<20, false)
	first.add(t, 20)
	first.stop()
	second := newSpooled(t, dir, 200, 1<<20, 64<<20, false)
	second.add(t, 5)
	server := redistest.Start(t)
	second.drainTo(t, server)
	expect(t, statuses(t, server.Client()), append(series(1, 20), append([]string{"started"}, series(1, 5)...)...)...)
}

func TestASpoolTooSmallDeclaresExactlyWhatIsMissing(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	s := newSpooled(t, t.TempDir(), 100, 200_000, 1<<20, false)
	for range 100 {
		s.add(t, 5)
		s.spooledAll(t)
	}
	dropped := s.Stats().Dropped
	if dropped == 0 || dropped > 480 {
		t.Fatalf("%d of 500 frames of 4 kB dropped, want some: 1 MiB is not enough", dropped)
	}
	server := redistest.Start(t)
	s.drainTo(t, server)
	expect(t, statuses(t, server.Client()), append([]string{"started", fmt.Sprintf("dropped 1-%d", dropped)}, series(int(dropped)+1, 500)...)...)
}

func TestATornFileIsDeclared(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	dir := t.TempDir()
	first := newSpooled(t, dir, 100, 1<<20, 64<<20, false)
	first.add(t, 9)
	first.stop()
	torn := 0
	for _, name := range fileNames(t, dir) {
		if !strings.Contains(filepath.Base(name), "5") || torn > 0 {
			continue
		}
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)/2] ^= 1
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		torn++
	}
	if torn != 1 {
		t.Fatalf("no file of frame 5 among %v", fileNames(t, dir))
	}
	second := newSpooled(t, dir, 200, 1<<20, 64<<20, false)
	server := redistest.Start(t)
	second.drainTo(t, server)
	expect(t, statuses(t, server.Client()), "1", "2", "3", "4", "dropped 5-5", "6", "7", "8", "9", "started")
}

func TestSpooledFramesAreRaisedAboveAStreamThatIsAhead(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	dir := t.TempDir()
	first := newSpooled(t, dir, 100, 1<<20, 64<<20, false)
	first.add(t, 3)
	first.stop()
	second := newSpooled(t, dir, 200, 1<<20, 64<<20, false)
	second.add(t, 3)
	second.onDisk(t)
	server := redistest.Start(t)
	server.Do("XADD", testKey, "5000-7", "header", `{"status":"ok","id":"5000-7","bytes":0}`, "image", "")
	second.drainTo(t, server)
	if e := second.Epoch(); e != 5002 {
		t.Errorf("epoch %d, want 5002: one for the earlier start's frames, one for ours", e)
	}
	expect(t, statuses(t, server.Client()), "7", "1", "2", "3", "started", "1", "2", "3")
}

// A start in between could not read the spool, and the stream went on without what
// waited there. Redis takes that under new IDs only; what it had is not sent twice.
func TestSpooledFramesThatTheStreamWentBeyond(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	entry := func(server *redistest.Server, id string) {
		server.Do("XADD", testKey, id, "header", `{"status":"ok","id":"`+id+`","bytes":0}`, "image", "")
	}
	for _, c := range []struct {
		name, had string
		epoch     uint64
		want      []string
	}{
		{"had none of them", "", 202, []string{"9", "1", "2", "3", "started", "1", "2"}},
		{"had some", "100-1", 202, []string{"1", "9", "1", "2", "started", "1", "2"}},
		{"had all", "100-3", 200, []string{"3", "9", "started", "1", "2"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			first := newSpooled(t, dir, 100, 1<<20, 64<<20, false)
			first.add(t, 3)
			first.stop()
			server := redistest.Start(t)
			if c.had != "" {
				entry(server, c.had)
			}
			entry(server, "150-9") // of the start without the spool
			second := newSpooled(t, dir, 200, 1<<20, 64<<20, false)
			second.add(t, 2)
			second.drainTo(t, server)
			if e := second.Epoch(); e != c.epoch {
				t.Errorf("epoch %d, want %d", e, c.epoch)
			}
			expect(t, statuses(t, server.Client()), c.want...)
			testkit.Eventually(t, "no file is left", func() bool { return len(fileNames(t, dir)) == 0 })
		})
	}
}

func TestAlwaysWritesBeforeItSends(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	dir := t.TempDir()
	server := redistest.Start(t)
	s := newSpooled(t, dir, 100, 1<<20, 64<<20, true)
	s.drainTo(t, server)
	for i := range 20 {
		s.add(t, 1)
		testkit.Eventually(t, "the frame is in Redis", func() bool { return s.Stats().Sent == uint64(i+1) })
	}
	if n := s.spooler.Stats().Written; n != 20 {
		t.Errorf("%d frames were written, want all 20", n)
	}
	expect(t, statuses(t, server.Client()), append([]string{"started"}, series(1, 20)...)...)
}

func TestALiveLinkWritesNothing(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	s := newSpooled(t, t.TempDir(), 100, 1<<20, 64<<20, false)
	s.lookEvery(testkit.Patience)
	s.drainBy(t, testkit.Unhurried(server.URL()))
	testkit.Eventually(t, "the stream has begun", func() bool { return server.Client().XLen(context.Background(), testKey).Val() == 1 })
	for i := range 100 {
		s.add(t, 1)
		testkit.Eventually(t, "the frame is in Redis", func() bool { return s.Stats().Sent == uint64(i+1) })
	}
	if n := s.spooler.Stats().Written; n != 0 {
		t.Errorf("%d frames were written to disk though Redis took them all", n)
	}
}

func TestRedisRestartsWithADiskfulOfFrames(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	s := newSpooled(t, t.TempDir(), 100, 100_000, 64<<20, false)
	a := s.drainTo(t, server)
	for range 3 {
		server.Kill()
		for range 20 {
			s.add(t, 5)
			s.onDisk(t)
		}
		server.Restart()
		flushAll(t, s, a)
	}
	got := statuses(t, server.Client())
	if st := s.Stats(); st.Dropped != 0 || st.Newest.Seq != 300 {
		t.Errorf("stats %+v, want 300 added and none dropped", st)
	}
	last := got[len(got)-100:]
	expect(t, last, series(201, 300)...) // the last outage's frames; earlier ones as far as memory has them
	expectNothingUndeclared(t, server.Client(), 300)
}

// A full spool takes nothing older than what it has, and drops the oldest
// first. What Redis has lost is older than all of it, and still in memory: that
// is where it must come from. disk is how many frames it has room for, before
// newer ones come.
func TestRedisReturnsEmptyToAFullSpool(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	for _, c := range []struct {
		always bool
		disk   int64
	}{{false, 32}, {true, 32}, {false, 100}, {true, 100}} {
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			server := redistest.Start(t)
			s := newSpooled(t, t.TempDir(), 100, 1<<20, c.disk*8192, c.always) // memory for 250 frames of 4 kB
			a := s.drainTo(t, server)
			for range 20 { // few at once: the disk is to play no part yet
				s.add(t, 10)
				flushAll(t, s, a)
			}
			server.Kill()
			for range 20 {
				s.add(t, 2)
				s.spooledAll(t)
			}
			server.Restart()
			s.add(t, 30)
			flushAll(t, s, a)
			got, lost := statuses(t, server.Client()), int(s.Stats().Dropped)
			expect(t, got[:201], append([]string{"started"}, series(1, 200)...)...)
			expect(t, got[len(got)-30:], series(241, 270)...)
			if c.disk == 100 && lost > 0 {
				t.Errorf("%d frames were lost (%v), want none", lost, s.losses)
			}
			expectNothingUndeclared(t, server.Client(), 270)
			testkit.Eventually(t, "the spool is empty", func() bool { return s.spooler.Stats().Frames == 0 })
		})
	}
}

// While Redis takes frames, a spool too small for a burst loses none of it.
func TestABurstLargerThanTheSpool(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	s := newSpooled(t, t.TempDir(), 100, 1<<20, 32*8192, true)
	a := s.drainTo(t, server)
	s.add(t, 1)
	flushAll(t, s, a)
	s.add(t, 149)
	flushAll(t, s, a)
	expect(t, statuses(t, server.Client()), append([]string{"started"}, series(1, 150)...)...)
}

// What only memory has while Redis accepts frames goes to disk when it does not
// any more, if there is room.
func TestAnOutageOffersTheSpoolEverything(t *testing.T) {
	t.Parallel()
	s := newSpooled(t, t.TempDir(), 100, 1<<20, 64<<20, false)
	s.add(t, 3)
	s.onDisk(t)
	s.setWritable(true)
	s.spoolDrops([]spool.Loss{{First: frame.ID{Epoch: 100, Seq: 1}, Last: frame.ID{Epoch: 100, Seq: 3}, Reason: spool.ReasonFull}})
	if _, all := s.Persisted(); all || s.Stats().Dropped != 0 {
		t.Fatalf("%+v, want frames that only memory has", s.Stats())
	}
	s.setWritable(false)
	s.onDisk(t)
}

// Without a subscriber the oldest go, those too that have been offered in vain,
// and one declaration names them all.
func TestPubsubWithoutASubscriberRetainsTheNewest(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	s := newSpooled(t, t.TempDir(), 100, 60_000, 64<<20, false)
	b := NewChannelWriter(ChannelWriterConfig{Topic: "stream/testcam", Log: zerolog.Nop()}, s.Log)
	h := linktest.Listen(t, testkit.Fast(server.URL()), func(c *datatransfer.LinkConfig) { c.Workers = []datatransfer.Worker{b.Worker()} })
	h.AwaitLive(t)
	s.add(t, 10)
	testkit.Eventually(t, "one loss, from the first frame on", func() bool {
		s.add(t, 5)
		s.mu.Lock()
		defer s.mu.Unlock()
		loss := s.items[0]
		return loss.isLost() && loss.first.Seq == 1 && loss.id.Seq >= 10 && !s.items[1].isLost()
	})
	if lost := s.Losses(); len(lost) != 1 || lost["unheard"] != s.Stats().Dropped {
		t.Errorf("got %v, want the %d dropped for want of receivers", lost, s.Stats().Dropped)
	}
}

func TestPubsubSendsTheFramesOfALostSession(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	s := newSpooled(t, t.TempDir(), 100, 60_000, 64<<20, false)
	b := NewChannelWriter(ChannelWriterConfig{Topic: "stream/testcam", Log: zerolog.Nop()}, s.Log)
	s.lookEvery(testkit.Patience)
	h := linktest.Listen(t, testkit.Unhurried(server.URL()), func(c *datatransfer.LinkConfig) { c.Workers = []datatransfer.Worker{b.Worker()} })
	h.AwaitLive(t)
	testkit.Eventually(t, "the writer is at work", func() bool { return s.isWritable() })

	s.add(t, 30) // no subscriber: memory only, the oldest go
	testkit.Eventually(t, "the writer has noticed", func() bool {
		return server.Client().PubSubNumSub(context.Background(), "stream/testcam").Err() == nil && s.Stats().Dropped > 0
	})
	if n := s.spooler.Stats().Written; n != 0 {
		t.Errorf("%d frames went to disk without a subscriber", n)
	}
	got := make(chan *frame.Message, 1000)
	reader := linktest.Listen(t, testkit.Fast(server.URL()), func(c *datatransfer.LinkConfig) {
		c.Name = "reader"
		c.Subscriptions = []datatransfer.Subscription{{Channel: "stream/testcam", Handle: func(p []byte, _ time.Time) {
			if m, err := frame.ParseMessage(p); err == nil {
				got <- m
			}
		}}}
	})
	reader.AwaitLive(t)
	testkit.Eventually(t, "what was in memory arrives", func() bool { return s.Stats().Unsent == 0 })
	server.Kill()
	h.AwaitCause(t, redisconn.CauseRefused)
	for range 25 {
		s.add(t, 4)
		s.onDisk(t)
	}
	server.Restart()
	seen := map[uint64]bool{}
	testkit.Eventually(t, "every frame of the outage arrives", func() bool {
		for {
			select {
			case m := <-got:
				if m.Header.Status == frame.StatusOK {
					seen[m.Header.ID.Seq] = true
				}
				continue
			default:
			}
			break
		}
		for i := uint64(31); i <= 130; i++ {
			if !seen[i] {
				return false
			}
		}
		return true
	})
}

// The way of a frame from disk to Redis must not wait for a slow write.
func TestReadingBackDoesNotWaitForAWrite(t *testing.T) {
	t.Parallel()
	s := newSpooled(t, t.TempDir(), 100, 1<<20, 64<<20, false)
	s.add(t, 3)
	s.onDisk(t)
	answer, done := make(chan struct{}), make(chan error)
	go func() { done <- s.spooler.call(func() error { <-answer; return nil }) }() // as Run does
	testkit.Eventually(t, "the hanging disk shows", func() bool { return s.spooler.Hanging() > 50*time.Millisecond })
	if m, err := s.spooler.store.Get(id(100, 2)); err != nil || m.Header.ID != id(100, 2) {
		t.Errorf("read back %v, %v", m, err)
	}
	close(answer)
	if err := <-done; err != nil || s.spooler.Hanging() != 0 {
		t.Errorf("the disk hangs for %s after it has answered (%v)", s.spooler.Hanging(), err)
	}
}

// dropping is a disk that drops a frame while it is read.
type dropping struct {
	Store
	s   *spooled
	err error // what the read comes to
}

func (g dropping) Get(want frame.ID) (*frame.Message, error) {
	m, err := g.Store.Get(want)
	g.s.spoolDrops([]spool.Loss{{First: want, Last: want, Reason: spool.ReasonFull}})
	if g.err != nil {
		return nil, g.err
	}
	return m, err
}

// A frame that the spool drops just while it is read is sent if it was read,
// and declared once if not.
func TestAFrameDroppedWhileItIsRead(t *testing.T) {
	t.Parallel()
	for _, failure := range []error{nil, spool.ErrGone} {
		s := newSpooled(t, t.TempDir(), 100, 1<<20, 64<<20, false)
		s.add(t, 3)
		s.onDisk(t)
		s.mu.Lock()
		for _, e := range s.items {
			s.set(e, onDisk, unsent)
		}
		s.store = dropping{s.store, s, failure}
		s.mu.Unlock()
		b, err := s.begin(1, 1<<20, 0)
		if err != nil {
			t.Fatal(err)
		}
		want := uint64(0)
		if failure != nil {
			want = 1
		}
		if lost := b.entries[0].msg.Header.Status == frame.StatusDropped; lost != (failure != nil) {
			t.Errorf("%v: got %+v", failure, b.entries[0].msg.Header)
		}
		if got := s.Stats().Dropped; got != want {
			t.Errorf("%v: %d frames count as dropped, want %d", failure, got, want)
		}
	}
}

// A box without a battery begins in 1970, its saved epoch is lost, and so is
// what Redis had: the frames on disk bear epochs far above the clock's.
func TestFramesOnDiskAheadOfTheClock(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	dir := t.TempDir()
	first := newSpooled(t, dir, 1_795_000_000, 1<<20, 64<<20, false)
	first.add(t, 5)
	first.onDisk(t)
	first.stop()
	second := newSpooled(t, dir, 30, 1<<20, 64<<20, false)
	second.add(t, 5)
	server := redistest.Start(t)
	if a := second.drainTo(t, server); a.Status().Conflict {
		t.Errorf("the agent is in conflict with itself: %+v", a.Status())
	}
	expect(t, statuses(t, server.Client()), "1", "2", "3", "4", "5", "started", "1", "2", "3", "4", "5")
}

// A frozen Redis is only known when the probe's time is over. Until then the
// link is LIVE, and a kill must not take along what comes meanwhile.
func TestFramesOfAFreezeGoToDiskBeforeItIsNoticed(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	s := newSpooled(t, t.TempDir(), 100, 8<<20, 64<<20, false)
	a := newStreamWriter(s.Log)
	s.lookEvery(testkit.Patience)
	h := linktest.Listen(t, testkit.Unhurried(server.URL()), func(c *datatransfer.LinkConfig) { c.Workers = []datatransfer.Worker{a.Worker()} }) // nobody notices
	h.AwaitLive(t)
	testkit.Eventually(t, "the stream is looked at", func() bool { return s.isWritable() })
	s.add(t, 1)
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := s.spooler.Stats().Written; n != 0 {
		t.Errorf("%d frames went to disk while Redis took them", n)
	}
	s.lookEvery(progressInterval)
	server.Freeze()
	defer server.Thaw()
	s.add(t, 20)
	s.onDisk(t)
	if st := h.Status(); st.State != datatransfer.Live || st.Outages > 0 {
		t.Errorf("the link noticed: %+v; this test shows nothing", st)
	}
	server.Thaw()
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	expect(t, statuses(t, server.Client()), append([]string{"started"}, series(1, 21)...)...)
}

// What was under way when Redis froze is in its socket: it takes it when it is
// thawed, though the agent is gone by then. That its file was damaged meanwhile
// is nobody's loss.
func TestADamagedFileOfAFrameThatRedisTook(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	dir := t.TempDir()
	first := newSpooled(t, dir, 100, 8<<20, 64<<20, false)
	a := newStreamWriter(first.Log)
	link := datatransfer.NewLink(datatransfer.LinkConfig{Redis: testkit.Fast(server.URL()), Name: "testcam", Workers: []datatransfer.Worker{a.Worker()}, Log: zerolog.Nop()})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- link.Run(ctx) }()
	testkit.Eventually(t, "the stream begins", func() bool { return len(statuses(t, server.Client())) == 1 })
	server.Freeze()
	first.add(t, 3)
	testkit.Eventually(t, "the freeze is noticed", func() bool { return link.Status().Outages > 0 })
	first.onDisk(t)
	cancel()
	<-ended
	first.stop()
	server.Thaw()
	testkit.Eventually(t, "Redis takes what was in its socket", func() bool { return len(statuses(t, server.Client())) > 1 })
	names := fileNames(t, dir)
	if err := os.Truncate(names[0], 100); err != nil {
		t.Fatal(err)
	}
	second := newSpooled(t, dir, 200, 1<<20, 64<<20, false)
	second.drainTo(t, server)
	got := statuses(t, server.Client())
	expect(t, got[len(got)-5:], "started", "1", "2", "3", "started")
}
