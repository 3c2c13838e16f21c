package agent

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/linktest"
	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/outbox"
	"framekeeper/pkg/spool"
)

// spooledLog is a frame log with a spool, without a link.
func spooledLog(t *testing.T, dir string, epoch uint64) (log *outbox.Log, spooler *outbox.Spooler, stop func()) {
	t.Helper()
	nop := zerolog.Nop()
	log = outbox.NewLog(outbox.LogConfig{Camera: "testcam", Epoch: epoch, Limit: 1 << 20, Stream: 64 << 20, Log: nop})
	disk, losses, err := spool.Open(spool.Config{Dir: dir, MaxBytes: 64 << 20, MaxAge: time.Hour, Log: nop})
	if err != nil {
		t.Fatal(err)
	}
	spooler = outbox.NewSpooler(log, disk, losses, nop)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- spooler.Run(ctx) }()
	return log, spooler, func() {
		cancel()
		<-done
		if err := disk.Close(); err != nil {
			t.Errorf("close spool: %v", err)
		}
	}
}

// remembered writes down what a Recall finds.
type remembered []string

func (r *remembered) add(id string, answer *outbox.Item) {
	*r = append(*r, id+" "+answer.Message().Header.ID.String())
}

func request(id string) []byte { return fmt.Appendf(nil, `{"id":%q}`, id) }

// An answer whose entry Redis never got is on disk. The next start must remember it
// before that entry is out: a repeat would be captured anew, and the stream
// would have two frames for one request.
func TestRecallFromSpool(t *testing.T) {
	dir := t.TempDir()
	clock := frame.NewClock()
	log, _, stop := spooledLog(t, dir, 100)
	add := func(request []byte, at int64) {
		item, err := log.Add(outbox.Options{Answer: request != nil}, func(id frame.ID) (*frame.Message, error) {
			return frame.NewMessage(frame.Header{Camera: "testcam", ID: id, Status: frame.StatusOK, PublishedUS: at, Request: request}, make([]byte, 4000))
		})
		if err != nil {
			t.Fatal(err)
		}
		log.Published(item)
	}
	add(request("long ago"), clock.Now()-2*recallWindow.Microseconds())
	add(nil, clock.Now()) // a frame nobody requested
	add([]byte(`{"angle":25}`), clock.Now())
	add([]byte(`{"id":"early","ID":"late"}`), clock.Now()) // "ID" is a key of the sender's
	add(request("late"), clock.Now())
	testkit.Eventually(t, "everything unsent is on disk", func() bool { _, all := log.Persisted(); return all })
	stop()

	_, spooler, stop := spooledLog(t, dir, 200)
	defer stop()
	var got remembered
	recall := recall{Memory: 1 << 20, Now: clock.Now, Remember: got.add}
	recall.fromSpool(spooler)
	if want := "[early 100-4 late 100-5]"; fmt.Sprint(got) != want {
		t.Errorf("remembered %s, want %s", got, want)
	}
	got, recall.Memory = nil, 4000
	if recall.fromSpool(spooler); fmt.Sprint(got) != "[late 100-5]" {
		t.Errorf("remembered %s within 4000 bytes, want the newest", got)
	}
}

func TestRecallFromStream(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	clock := frame.NewClock()
	seq := uint64(0)
	add := func(request []byte, at int64) {
		seq++
		m, err := frame.NewMessage(frame.Header{
			Camera: "testcam", ID: frame.ID{Epoch: 100, Seq: seq}, Status: frame.StatusOK, PublishedUS: at, Request: request,
		}, make([]byte, 1000))
		if err != nil {
			t.Fatal(err)
		}
		if err := server.Client().XAdd(t.Context(), &redis.XAddArgs{
			Stream: "frames:testcam", ID: m.Header.ID.String(), Values: []any{"header", m.HeaderJSON(), "image", m.Image()},
		}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	add(request("long ago"), clock.Now()-2*recallWindow.Microseconds())
	add(request("first"), clock.Now())
	for range 3 * recallPage {
		add(nil, clock.Now())
	}
	add(request("last"), clock.Now())
	var got remembered
	recall := recall{Key: "frames:testcam", Memory: 1 << 20, Now: clock.Now, Remember: got.add}
	read := make(chan error, 1)
	linktest.Listen(t, testkit.Fast(server.URL()), func(c *datatransfer.LinkConfig) {
		c.Admit = func(ctx context.Context, s *datatransfer.Session) error {
			read <- recall.fromStream(ctx, s)
			return nil
		}
	})
	if err := <-read; err != nil || fmt.Sprint(got) != "[first 100-2 last 100-15]" {
		t.Errorf("remembered %s, %v, want the two answers of the last %s", got, err, recallWindow)
	}
}
