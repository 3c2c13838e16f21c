package rpc

import (
	"fmt"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/pkg/frame"
	"framekeeper/pkg/outbox"
)

// An answer whose entry Redis never got is on disk. The next start must know it
// before that entry is out: a repeat would be captured anew, and the stream
// would hold two frames for one request.
func TestAnswersLeftOnDiskAreRepeated(t *testing.T) {
	dir := t.TempDir()
	clock := frame.NewClock()
	first := newSpooled(t, dir, 100, 1<<20, 64<<20, false)
	answer := func(request string, at int64) {
		item, err := first.Add(outbox.Options{Stream: true, Answer: true}, func(id frame.ID) (*frame.Message, error) {
			return frame.NewMessage(frame.Header{
				Camera: "testcam", ID: id, Status: frame.StatusOK, PublishedUS: at, Request: fmt.Appendf(nil, `{"id":%q}`, request),
			}, first.image)
		})
		if err != nil {
			t.Fatal(err)
		}
		first.Published(item)
	}
	answer("long ago", clock.Now()-2*recallWindow.Microseconds())
	first.add(t, 1) // a frame nobody asked for, from 1970
	answer("early", clock.Now())
	answer("late", clock.Now())
	first.onDisk(t)
	first.stop()

	second := newSpooled(t, dir, 200, 1<<20, 64<<20, false)
	var repeated []string
	r := NewServer(ServerConfig{
		Rate: 100, Timeout: time.Second, Parse: frame.ParseRequest, Log: zerolog.Nop(),
		Refuse: func(_ frame.Request, _ time.Time, reason string) { t.Errorf("refused: %s", reason) },
		Repeat: func(item *outbox.Item) { repeated = append(repeated, item.Message().Header.ID.String()) },
	})
	r.Handle([]byte(`{"id":"early"}`), time.Now()) // it came before we knew
	r.RecallKept(second.spooler, clock.Now())
	r.Handle([]byte(`{"id":"late"}`), time.Now())
	r.Handle([]byte(`{"id":"long ago"}`), time.Now())
	if got, want := fmt.Sprint(repeated), "[100-3 100-4]"; got != want {
		t.Errorf("repeated %s, want %s", got, want)
	}
	if n := r.Stats().Pending; n != 1 {
		t.Errorf("%d requests wait for a frame, want 1", n)
	}
}
