package outbox

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/spool"
)

// frameFiles are the IDs of the frames in the files of a spool.
func frameFiles(t *testing.T, dir string) (ids []string) {
	t.Helper()
	for _, path := range fileNames(t, dir) {
		if id, ok := strings.CutSuffix(filepath.Base(path), ".frame"); ok {
			ids = append(ids, id)
		}
	}
	return ids
}

// What Redis had and lost is on disk when the log says so: the files from before it was
// delivered do not count.
func TestFramesThatRedisLostAreOnDiskAgain(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server, dir := redistest.Start(t), t.TempDir()
	s := newSpooled(t, dir, 100, 1<<20, 64<<20, false)
	s.add(t, 10)
	s.onDisk(t)
	s.drainTo(t, server)
	testkit.Eventually(t, "the delivered files are removed", func() bool { return len(frameFiles(t, dir)) == 0 })

	server.Do("ACL", "SETUSER", "default", "-xadd")
	server.Do("FLUSHALL")
	s.add(t, 1)
	testkit.Eventually(t, "the loss is noticed", func() bool { return s.Stats().Unsent == 11 })
	s.onDisk(t)
	if n := len(frameFiles(t, dir)); n != 11 {
		t.Errorf("the log believes that all is on disk, where %d of 11 frames are", n)
	}
	s.stop()

	server.Do("ACL", "SETUSER", "default", "+xadd")
	next := newSpooled(t, dir, 101, 1<<20, 64<<20, false)
	next.drainTo(t, server)
	if n := len(server.Client().XRange(t.Context(), testKey, "100-1", "100-11").Val()); n != 11 {
		t.Errorf("after the next start the stream has %d of 11 frames", n)
	}
}

// A frame may be delivered and lost again while the Spooler writes. The removal that is
// still due must not take the file that the log counts on by then.
func TestARemovalThatIsDueTakesNoFileThatIsNeededAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := newLog(100, 1<<20, zerolog.Nop())
	store, _, err := spool.Open(spool.Config{Dir: dir, MaxBytes: 64 << 20, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	sp := NewSpooler(l, store, nil, zerolog.Nop())
	add := func() {
		t.Helper()
		if _, err := l.Add(Options{}, func(id frame.ID) (*frame.Message, error) {
			return frame.NewMessage(frame.Header{Camera: "testcam", ID: id, Status: frame.StatusOK}, make([]byte, 4000))
		}); err != nil {
			t.Fatal(err)
		}
	}
	deliverAll := func() {
		t.Helper()
		b, err := l.begin(batchItems, batchBytes, 0)
		if err != nil || b == nil {
			t.Fatal(b, err)
		}
		b.commit(len(b.items))
	}
	agree := func() {
		t.Helper()
		for range 3 {
			sp.step(time.Now())
		}
		if _, all := l.Persisted(); !all || len(frameFiles(t, dir)) != l.Stats().Unsent {
			t.Errorf("%d frames are unsent, %d on disk; the log believes in all: %v", l.Stats().Unsent, len(frameFiles(t, dir)), all)
		}
	}
	for range 5 {
		add()
	}
	agree()

	deliverAll()
	l.resume(frame.ID{}) // Redis has lost them
	sp.write(false)      // in the middle of a step, which began with the removals
	agree()

	add()
	items := l.toSpool(spoolGroup, false)
	if n, err := sp.writeGroup(items); n != len(items) || err != nil {
		t.Fatal(n, err)
	}
	deliverAll()
	l.resume(frame.ID{})
	l.spooled(items)
	agree()
}
