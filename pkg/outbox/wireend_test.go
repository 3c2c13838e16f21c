package outbox

import (
	"context"
	"errors"
	"testing"

	"github.com/rs/zerolog"

	"framekeeper/pkg/frame"
)

// A session, or the agent, may end while a payload is derived. That is the fault of no
// frame, and no answer's.
func TestAnEndDuringDerivingGivesNothingUp(t *testing.T) {
	t.Parallel()
	for name, step := range map[string]func(context.Context, *sender, Wire) error{
		"a frame": func(ctx context.Context, s *sender, ends Wire) error {
			w := NewChannelWriter(ChannelWriterConfig{Topic: streamTopic, Log: zerolog.Nop(), Wire: ends}, s.frames)
			w.begin()
			_, err := w.step(ctx, &endingChannel{}, nil)
			return err
		},
		"an answer": func(ctx context.Context, s *sender, ends Wire) error {
			s.publisher.cfg.Wire = ends
			_, err := s.publisher.step(ctx, &endingChannel{}, &s.publisher.answers, nil)
			return err
		},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		ends := func(ctx context.Context, _ *frame.Message) ([]byte, error) {
			cancel()
			return nil, ctx.Err()
		}
		s := &sender{mode: ModePubSub, frames: NewLog(LogConfig{Camera: "testcam", Epoch: 100, Limit: 1 << 20, Log: zerolog.Nop()})}
		request := ""
		if name == "an answer" {
			s.publisher, request = NewPublisher(PublisherConfig{Topic: streamTopic, Limit: 1 << 20, Log: zerolog.Nop()}, s.frames), "1"
		}
		s.add(t, 100, request)
		if err := step(ctx, s, ends); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: the step ended with %v", name, err)
		}
		switch stats := s.frames.Stats(); {
		case stats.Dropped > 0 || name == "a frame" && stats.Unsent != 1:
			t.Errorf("%s: %+v, want nothing given up", name, stats)
		case name == "an answer" && s.publisher.answers.snapshot().Waiting != 1:
			t.Errorf("%s: %+v, want it to wait", name, s.publisher.answers.snapshot())
		}
	}
}
