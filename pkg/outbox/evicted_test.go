package outbox

import (
	"testing"

	"github.com/rs/zerolog"

	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/linktest"
	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/frame"
)

// A frame may be spooled and evicted before whoever added it has it published, and
// long before the repeat of a request asks for it again.
func TestAnEvictedFrameIsPublished(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	for name, opt := range map[string]Options{"a frame": {}, "an answer": {Answer: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			heard := subscribe(t, server.Client())
			s := newSpooled(t, t.TempDir(), 100, 12_000, 64<<20, false) // memory for three
			item, err := s.Add(opt, func(id frame.ID) (*frame.Message, error) {
				return frame.NewMessage(frame.Header{Camera: "testcam", ID: id, Status: frame.StatusOK}, s.image)
			})
			if err != nil {
				t.Fatal(err)
			}
			p := &publishing{Publisher: newPublisher(s.Log)}
			queue := p.Frame
			if opt.Answer {
				queue = p.Answer
				queue(item)
			}
			s.add(t, 10)
			s.onDisk(t)
			if !opt.Answer {
				queue(item)
			}
			p.Listener = linktest.Listen(t, testkit.Fast(server.URL()), func(c *datatransfer.LinkConfig) { c.Workers = p.Workers() })
			p.flush(t)
			s.add(t, 10)
			s.onDisk(t)
			queue(item) // the repeat
			p.flush(t)
			testkit.Eventually(t, "it is heard twice", func() bool { n := heard.received(); return len(n) == 2 && n[0] == 1 && n[1] == 1 })
		})
	}
}

func newPublisher(l *Log) *Publisher {
	return NewPublisher(PublisherConfig{Topic: streamTopic, Limit: 1 << 20, Log: zerolog.Nop()}, l)
}
