package outbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/rs/zerolog"

	"framekeeper/pkg/frame"
)

// heardBatches is a channel with a subscriber: the payloads of each batch.
type heardBatches struct{ batches [][]string }

func (h *heardBatches) publish(_ context.Context, payloads [][]byte) []publishReply {
	var batch []string
	replies := make([]publishReply, len(payloads))
	for i, p := range payloads {
		batch = append(batch, string(p))
		replies[i].receivers = 1
	}
	h.batches = append(h.batches, batch)
	return replies
}

// A frame that cannot be put on the channel's wire is declared, and holds up nothing.
// What is derived may be much larger than what the log has: one at a time is.
func TestAFrameThatCannotBeDerivedIsDeclared(t *testing.T) {
	t.Parallel()
	l := NewLog(LogConfig{Camera: "testcam", Epoch: 100, Limit: 1 << 20, Log: zerolog.Nop()})
	for range 4 {
		if _, err := l.Add(Options{}, func(id frame.ID) (*frame.Message, error) {
			return frame.NewMessage(frame.Header{Camera: "testcam", ID: id, Status: frame.StatusOK}, make([]byte, 100))
		}); err != nil {
			t.Fatal(err)
		}
	}
	w := NewChannelWriter(ChannelWriterConfig{Topic: streamTopic, Log: zerolog.Nop(), Wire: func(_ context.Context, m *frame.Message) ([]byte, error) {
		if m.Header.ID.Seq == 2 && m.Header.Status == frame.StatusOK {
			return nil, errors.New("its JPEG is damaged")
		}
		return fmt.Appendf(nil, "%d %s", m.Header.ID.Seq, m.Header.Status), nil
	}}, l)
	w.begin()
	var heard heardBatches
	for range 10 {
		if _, err := w.step(t.Context(), &heard, nil); err != nil {
			t.Fatalf("the session ends with %v", err)
		}
	}
	if got, want := slices.Concat(heard.batches...), []string{"1 ok", "2 dropped", "3 ok", "4 ok"}; !slices.Equal(got, want) || len(heard.batches) != 4 {
		t.Errorf("heard %q, want %q one by one", heard.batches, want)
	}
	if s := l.Stats(); s.Dropped != 1 || s.Sent != 3 || s.Unsent != 0 {
		t.Errorf("%+v, want 3 sent and 1 dropped", s)
	}
}
