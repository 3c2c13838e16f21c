package outbox

import (
	"context"
	"testing"

	"github.com/rs/zerolog"

	"framekeeper/pkg/frame"
)

// refusingChannel is a channel that the user may not publish to.
type refusingChannel struct{}

func (refusingChannel) publish(_ context.Context, payloads [][]byte) []publishReply {
	replies := make([]publishReply, len(payloads))
	for i := range replies {
		replies[i].err = replyNoPerm
	}
	return replies
}

// Answers wait in their lane behind one that Redis refuses to publish, one at a time on
// the old wire. The stream has all of them meanwhile.
func TestARefusedChannelDoesNotHoldUpTheStream(t *testing.T) {
	t.Parallel()
	frames := newLog(5, 1<<20, zerolog.Nop())
	wire := func(_ context.Context, m *frame.Message) ([]byte, error) { return m.Wire(), nil }
	p := NewPublisher(PublisherConfig{Topic: streamTopic, Limit: 1 << 20, Wire: wire, Log: zerolog.Nop()}, frames)
	const answers = 3
	for range answers {
		item, err := frames.Add(Options{Answer: true}, func(id frame.ID) (*frame.Message, error) {
			return frame.NewMessage(frame.Header{Camera: "testcam", ID: id, Status: frame.StatusOK}, make([]byte, 100))
		})
		if err != nil {
			t.Fatal(err)
		}
		p.Answer(item)
	}
	if wait, err := p.step(t.Context(), refusingChannel{}, &p.answers, nil); err != nil || wait != refusedWait {
		t.Fatalf("step = %v, %v", wait, err)
	}
	b, err := frames.begin(10, 1<<20, 0)
	if err != nil || b == nil || len(b.entries) != answers {
		t.Errorf("the stream may have %+v (%v), want all %d", b, err, answers)
	}
}
