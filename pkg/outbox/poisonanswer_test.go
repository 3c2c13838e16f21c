package outbox

import (
	"context"
	"io"
	"slices"
	"strconv"
	"testing"

	"github.com/rs/zerolog"

	"framekeeper/pkg/frame"
)

// endingChannel ends every connection on which a large message is sent, or, as some
// services do, answers with refusal and leaves the connection alone.
type endingChannel struct {
	refusal   error
	published []string
}

func (c *endingChannel) publish(_ context.Context, payloads [][]byte) []publishReply {
	replies := make([]publishReply, len(payloads))
	for i, p := range payloads {
		if len(p) > mib {
			if c.refusal != nil {
				replies[i].err = c.refusal
				continue
			}
			for ; i < len(payloads); i++ {
				replies[i].err = io.EOF
			}
			break
		}
		m, err := frame.ParseMessage(p)
		if err != nil {
			replies[i].err = err
			continue
		}
		c.published = append(c.published, string(m.Header.Status)+string(m.Header.Request))
		replies[i].receivers = 1
	}
	return replies
}

// Answers behind one that Redis never accepts wait for its two attempts, and no longer.
func TestAnAnswerThatEndsConnectionsHoldsUpNoOther(t *testing.T) {
	for name, c := range map[string]struct {
		refusal error
		ends    int // of sessions
		waits   int // after a refusal
	}{
		"ends connections":      {nil, 2, 0},
		"is refused with words": {sizeReply("ERR max request size exceeded"), 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := &sender{mode: ModePubSub, frames: newLog(100, 64<<20, zerolog.Nop())}
			var server *fakeServer
			s.ceiling, server = newCeiling(mib)
			s.publisher = NewPublisher(PublisherConfig{Topic: streamTopic, Limit: 64 << 20, Ceiling: s.ceiling, Log: zerolog.Nop()}, s.frames)
			for i, size := range []int{1000, raw720, 1000, raw720, 1000} {
				s.add(t, size, strconv.Itoa(i+1))
			}
			channel, ends, waits := &endingChannel{refusal: c.refusal}, 0, 0
			for {
				wait, err := s.publisher.step(t.Context(), channel, &s.publisher.answers, server.test)
				if err != nil {
					ends++
					s.ceiling.sessionBegins()
				}
				if wait == idle {
					break
				}
				if wait > 0 {
					waits++
				}
			}
			want := []string{"ok1", "error2", "ok3", "error4", "ok5"}
			if ends != c.ends || waits != c.waits || !slices.Equal(channel.published, want) {
				t.Errorf("%d sessions ended, %d waits, published %q; want %d, %d, %q", ends, waits, channel.published, c.ends, c.waits, want)
			}
		})
	}
}

// What counts is what is sent: a wire may make much of a little.
func TestAFrameThatIsTooLargeOnItsWireIsDeclared(t *testing.T) {
	frames := NewLog(LogConfig{Camera: "testcam", Epoch: 100, Limit: 64 << 20, Log: zerolog.Nop()})
	s := &sender{mode: ModePubSub, frames: frames}
	ceiling, server := newCeiling(mib)
	w := NewChannelWriter(ChannelWriterConfig{Topic: streamTopic, Ceiling: ceiling, Log: zerolog.Nop(), Wire: func(_ context.Context, m *frame.Message) ([]byte, error) {
		if m.Header.ID.Seq != 2 || m.Header.Status != frame.StatusOK {
			return m.Wire(), nil
		}
		large, err := frame.NewMessage(frame.Header{ID: m.Header.ID, Status: frame.StatusOK}, make([]byte, raw720))
		return large.Wire(), err
	}}, frames)
	for range 3 {
		s.add(t, 20_000, "")
	}
	channel, ended := &endingChannel{}, 0
	for range 10 {
		if _, err := w.step(t.Context(), channel, server.test); err != nil {
			ended++
			w.end()
			w.begin()
		}
	}
	if want := []string{"ok", "dropped", "ok"}; ended != 2 || !slices.Equal(channel.published, want) {
		t.Errorf("%d sessions ended, published %q; want 2, and %q", ended, channel.published, want)
	}
	if n := frames.Losses()["too_large"]; n != 1 {
		t.Errorf("%d frames are counted as too large, want 1", n)
	}
}
