package stream

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/rs/zerolog"

	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/linktest"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/outbox"
	"framekeeper/pkg/redisconn"
)

const testKey = "frames:testcam"

// writer is a link with a log and the writer of its stream.
type writer struct {
	*linktest.Listener
	agent  *testkit.Log // what both log
	log    *outbox.Log
	writer *outbox.StreamWriter
	image  []byte
}

func newWriter(t *testing.T, cfg redisconn.Config, epoch uint64, retain int64, more ...func(*outbox.StreamWriter)) *writer {
	t.Helper()
	log := &testkit.Log{}
	w := &writer{image: bytes.Repeat([]byte("image"), 200), agent: log}
	w.log = outbox.NewLog(outbox.LogConfig{Camera: "testcam", Epoch: epoch, Limit: retain, Stream: 64 << 20, Log: zerolog.New(log)})
	w.writer = outbox.NewStreamWriter(outbox.StreamWriterConfig{Key: testKey, Log: zerolog.New(log)}, w.log)
	for _, f := range more {
		f(w.writer)
	}
	w.Listener = linktest.Listen(t, cfg, func(c *datatransfer.LinkConfig) {
		c.Admit = func(ctx context.Context, s *datatransfer.Session) error {
			return w.writer.Admit(ctx, s)
		}
		c.Workers = []datatransfer.Worker{w.writer.Worker()}
	})
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("writer's log:\n%s", log)
		}
	})
	return w
}

func (w *writer) add(t *testing.T, n int) {
	t.Helper()
	for range n {
		_, err := w.log.Add(outbox.Options{}, func(id frame.ID) (*frame.Message, error) {
			return frame.NewMessage(frame.Header{Camera: "testcam", ID: id, Status: frame.StatusOK}, w.image)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// drain waits until Redis has everything.
func (w *writer) drain(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
	defer cancel()
	if err := w.log.Flush(ctx); err != nil {
		t.Fatalf("log not drained: %v; stats %+v, stream %+v, link %+v", err, w.log.Stats(), w.writer.Status(), w.Status())
	}
}

func expect(t *testing.T, got []string, want ...string) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("stream has %v\nwant %v", got, want)
	}
}

// series is "from".."to" as strings.
func series(from, to int) (out []string) {
	for i := from; i <= to; i++ {
		out = append(out, fmt.Sprint(i))
	}
	return out
}
