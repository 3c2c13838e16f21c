package outbox

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
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
	mu   sync.Mutex // guards all
	all  []*frame.Message
	seen map[string]int // by status and ID, or request
}

func hear(t *testing.T, c *redis.Client) *hearing {
	t.Helper()
	h := &hearing{seen: map[string]int{}}
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

// What Redis never accepts is declared, in its place, and everything else flows.
func TestWhatRedisNeverAcceptsIsDeclared(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	for _, by := range limits {
		for _, mode := range []Mode{ModeStream, ModeBoth, ModePubSub} {
			t.Run(by+"/"+string(mode), func(t *testing.T) {
				t.Parallel()
				server, url := limited(t, by)
				s := newSender(t, testkit.Unhurried(url), mode, nil)
				s.AwaitLive(t)
				heard := hear(t, server.Client())
				s.add(t, 1000, "")
				s.drain(t)
				began := time.Now()
				s.add(t, 1000, "")
				s.add(t, raw720, "")
				s.add(t, 1000, "")
				s.add(t, raw720, `{"id":"large"}`)
				s.add(t, 1000, `{"id":"small"}`)
				s.drain(t)
				took := time.Since(began)
				lines, outages := s.lines(), s.Status().Outages
				t.Logf("%s, %s: declared after %s, %d outages, %d log lines", by, mode, took.Round(time.Millisecond), outages, lines)
				if took > 5*time.Second || outages > 2 || lines > 10 {
					t.Errorf("%s, %d outages, %d log lines; want at most 5s, 2, 10", took, outages, lines)
				}
				failed := heard.await(t, "the asker gets an error", func(h frame.Header) bool { return h.Status == frame.StatusError })
				if string(failed.Request) != `{"id":"large"}` || !strings.Contains(failed.Error, "does not accept a message of 27") {
					t.Errorf("the asker gets %+v, want the size and the request", failed)
				}
				heard.await(t, "the other answer", seq(6))
				s.expectPoison(t, server, heard)

				for range 20 { // all the time from now on
					s.add(t, raw720, "")
				}
				s.add(t, 1000, "")
				s.drain(t)
				if now := s.lines(); now != lines || s.Status().Outages != outages {
					t.Errorf("%d outages and %d lines later, want none: the ceiling is known", s.Status().Outages-outages, now-lines)
				}
				want := uint64(22)
				if !mode.Streams() {
					want = 21 // the answer is not logged
				}
				if got := s.frames.Losses()["too_large"]; got != want {
					t.Errorf("%d frames are counted as too large, want %d", got, want)
				}
			})
		}
	}
}

// expectPoison checks that frames 3 and 5 of 6 were too large.
func (s *sender) expectPoison(t *testing.T, server *redistest.Server, heard *hearing) {
	t.Helper()
	if s.mode.Streams() {
		expect(t, statuses(t, server.Client()), "started", "1", "2", "dropped 3-3", "4", "dropped 5-5", "6")
		entry, err := server.Client().XRange(context.Background(), testKey, "100-3", "100-3").Result()
		if err != nil || len(entry) != 1 || !strings.Contains(fmt.Sprint(entry[0].Values["header"]), "does not accept a message of 27") {
			t.Errorf("the declaration is %v, %v; want the size in its reason", entry, err)
		}
	} else {
		lost := heard.await(t, "the loss is declared on the channel", func(h frame.Header) bool { return h.Status == frame.StatusDropped })
		if lost.First != id(100, 3) || lost.Last != id(100, 3) || !strings.Contains(lost.Reason, "does not accept a message of 27") {
			t.Errorf("declared is %+v, want frame 3 and its size", lost)
		}
	}
	if s.mode.Publishes() {
		for _, n := range []uint64{2, 4} {
			heard.await(t, fmt.Sprintf("frame %d on the channel", n), seq(n))
		}
	}
	if m := heard.one(func(h frame.Header) bool { return h.Status == frame.StatusError && h.Request == nil }); m != nil {
		t.Errorf("nobody asked, and the channel has %+v", m.Header)
	}
}

// Sizes that vary around the limit end a few sessions, until the ceiling is known
// well enough, and not one each.
func TestSizesAroundTheLimit(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	for _, by := range limits {
		t.Run(by, func(t *testing.T) {
			t.Parallel()
			server, url := limited(t, by)
			s := newSender(t, testkit.Unhurried(url), ModeStream, nil)
			s.AwaitLive(t)
			rnd := rand.New(rand.NewPCG(1, 2))
			n := 0
			for _, spread := range []int{300_000, 3000, 500} {
				for range 30 {
					n++
					s.add(t, mib-1500+rnd.IntN(spread)-spread/2, "")
					s.add(t, 1000, "")
					s.drain(t)
				}
			}
			losses, outages := s.frames.Losses()["too_large"], s.Status().Outages
			t.Logf("%s: %d of %d frames around the limit are declared, %d outages, %d log lines", by, losses, n, outages, s.lines())
			if outages > 6 {
				t.Errorf("%d outages, want at most 6", outages)
			}
			if losses == 0 || losses > uint64(n)*2/3 {
				t.Errorf("%d of %d frames are declared, want about a third", losses, n)
			}
			expectNothingUndeclared(t, server.Client(), s.frames.Stats().Newest.Seq)
		})
	}
}
