package outbox

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/linktest"
	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/redisconn"
)

const (
	mib    = 1 << 20
	raw720 = 1280 * 720 * 3 // bytes
)

// sender is all that an agent sends through one link.
type sender struct {
	*linktest.Listener
	mode      Mode
	out       *testkit.Log // what link and writers log
	frames    *Log
	publisher *Publisher
	ceiling   *Ceiling
	ahead     atomic.Int64 // of the ceiling's clock
}

func newSender(t *testing.T, cfg redisconn.Config, mode Mode, frames *Log) *sender {
	t.Helper()
	s := &sender{mode: mode, out: &testkit.Log{}}
	log := zerolog.New(s.out)
	if s.frames = frames; frames == nil {
		s.frames = NewLog(LogConfig{Camera: "testcam", Epoch: 100, Limit: 64 << 20, Stream: 256 << 20})
	}
	s.frames.cfg.Log = log
	s.ceiling = NewCeiling(log)
	s.ceiling.now = func() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) }
	s.publisher = NewPublisher(PublisherConfig{Topic: streamTopic, Limit: 64 << 20, Ceiling: s.ceiling, Log: log}, s.frames)
	stream := NewStreamWriter(StreamWriterConfig{Key: testKey, Ceiling: s.ceiling, Log: log}, s.frames)
	channel := NewChannelWriter(ChannelWriterConfig{Topic: streamTopic, Ceiling: s.ceiling, Log: log}, s.frames)
	s.Listener = linktest.Listen(t, cfg, func(c *datatransfer.LinkConfig) {
		c.Log = log
		c.Workers = append(s.publisher.Workers(), channel.Worker())
		if mode.Streams() {
			c.Admit = stream.Admit
			c.Workers = append(s.publisher.Workers(), stream.Worker())
		}
	})
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the sender's log:\n%s", s.out)
		}
	})
	return s
}

// add adds a frame whose message has about that many bytes; with a request, it is the
// answer.
func (s *sender) add(t *testing.T, size int, request string) {
	t.Helper()
	answer := request != ""
	item, err := s.frames.Add(Options{Answer: answer, Unlogged: answer && !s.mode.Streams()}, func(id frame.ID) (*frame.Message, error) {
		h := frame.Header{Camera: "testcam", ID: id, Status: frame.StatusOK}
		if answer {
			h.Request = []byte(request)
		}
		return frame.NewMessage(h, make([]byte, size))
	})
	switch {
	case err != nil:
		t.Fatal(err)
	case answer:
		s.publisher.Answer(item)
	case s.mode == ModeBoth:
		s.publisher.Frame(item)
	}
}

// drain waits until everything is published and in the stream.
func (s *sender) drain(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
	defer cancel()
	for what, flush := range map[string]func(context.Context) error{"publisher": s.publisher.Flush, "log": s.frames.Flush} {
		if err := flush(ctx); err != nil {
			t.Fatalf("%s not drained: %v; %+v, link %+v", what, err, s.frames.Stats(), s.Status())
		}
	}
}

func (s *sender) lines() int { return len(s.out.Messages()) }

// hearing collects what is published on the camera's channel.
type hearing struct {
	mu  sync.Mutex // guards all
	all []*frame.Message
}

func hear(t *testing.T, c *redis.Client) *hearing {
	t.Helper()
	h := &hearing{}
	ps := c.Subscribe(context.Background(), streamTopic)
	if _, err := ps.Receive(context.Background()); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			m, err := ps.ReceiveMessage(context.Background())
			if err != nil {
				return
			}
			f, err := frame.ParseMessage([]byte(m.Payload))
			if err != nil {
				t.Errorf("message on the channel: %v", err)
				continue
			}
			h.mu.Lock()
			h.all = append(h.all, f)
			h.mu.Unlock()
		}
	}()
	t.Cleanup(func() { _ = ps.Close(); <-done })
	return h
}

// one is the first message that is wanted, or nil.
func (h *hearing) one(wanted func(frame.Header) bool) *frame.Message {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, m := range h.all {
		if wanted(m.Header) {
			return m
		}
	}
	return nil
}

func (h *hearing) await(t *testing.T, what string, wanted func(frame.Header) bool) frame.Header {
	t.Helper()
	var m *frame.Message
	testkit.Eventually(t, what, func() bool { m = h.one(wanted); return m != nil })
	return m.Header
}

func seq(n uint64) func(frame.Header) bool {
	return func(h frame.Header) bool { return h.Status == frame.StatusOK && h.ID.Seq == n }
}

// limited is a Redis that, or a way to Redis which, takes no message of 1 MiB.
func limited(t *testing.T, by string) (server *redistest.Server, url string) {
	t.Helper()
	if by == "proxy" {
		server = redistest.Start(t)
		proxy := redistest.NewProxy(t, server.Addr())
		proxy.CutLarge(mib)
		return server, proxy.URL()
	}
	server = redistest.Start(t, redistest.WithConfig(by, "1048576"))
	return server, server.URL()
}

var limits = []string{"proto-max-bulk-len", "client-query-buffer-limit", "proxy"}
