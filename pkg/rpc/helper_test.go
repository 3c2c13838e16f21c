package rpc

import (
	"bytes"
	"context"
	"framekeeper/internal/testkit"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/outbox"
	"framekeeper/pkg/spool"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

const streamTopic = "stream/testcam"

func id(epoch, seq uint64) frame.ID { return frame.ID{Epoch: epoch, Seq: seq} }

// sized is an item whose message has an image of n bytes.
func sized(t testing.TB, seq uint64, n int) *outbox.Item {
	t.Helper()
	m, err := frame.NewMessage(frame.Header{Camera: "c", ID: id(100, seq), Status: frame.StatusOK}, make([]byte, n))
	if err != nil {
		t.Fatal(err)
	}
	return outbox.NewItem(m, nil)
}

// spooled is an outbox with a spool, without a link: what happens while Redis
// is away.
type spooled struct {
	*outbox.Log
	spooler *outbox.Spooler
	image   []byte
	stop    func()
}

func newSpooled(t *testing.T, dir string, epoch uint64, retain, size int64, always bool) *spooled {
	t.Helper()
	log := zerolog.Nop()
	o := outbox.NewLog(epoch, retain, log)
	s, losses, err := spool.Open(spool.Config{Dir: dir, MaxBytes: size, MaxAge: time.Hour, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	sp := &spooled{Log: o, spooler: outbox.NewSpooler(o, s, losses, always, log), image: bytes.Repeat([]byte("x"), 4000)}
	if err := o.Start(func(id frame.ID) (*frame.Message, error) {
		return frame.NewMessage(frame.Header{Camera: "testcam", ID: id, Status: frame.StatusStarted}, nil)
	}); err != nil {
		t.Fatal(err)
	}
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
		_, err := s.Add(outbox.Options{Stream: true}, func(id frame.ID) (*frame.Message, error) {
			return frame.NewMessage(frame.Header{Camera: "testcam", ID: id, Status: frame.StatusOK}, s.image)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// onDisk waits until everything is.
func (s *spooled) onDisk(t *testing.T) {
	t.Helper()
	testkit.Eventually(t, "everything unsent is on disk", func() bool { _, all := s.Persisted(); return all })
}
