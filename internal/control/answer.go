package control

import (
	"context"
	"fmt"
	"time"

	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/redisconn"
)

// Subscription takes the box's commands, and what others say who have its name.
func (s *Server) Subscription(names *Namesakes) datatransfer.Subscription {
	return datatransfer.Subscription{Channel: Channel(names.Box()), Handle: func(payload []byte, arrived time.Time) {
		s.Handle(payload, arrived, names)
	}}
}

// Worker publishes answers. What one session did not confirm, the next
// publishes again: whoever asked tells copies by the id.
func (s *Server) Worker() datatransfer.Worker {
	return datatransfer.Worker{Name: "answer commands", Run: s.answer}
}

func (s *Server) answer(ctx context.Context, session *datatransfer.Session) error {
	for {
		s.mu.Lock()
		e := s.out.first()
		s.mu.Unlock()
		if e == nil {
			select {
			case <-s.wake:
				continue
			case <-ctx.Done():
				return nil
			}
		}
		err := session.Data().Publish(ctx, e.channel, e.reply).Err()
		if err != nil && redisconn.EndsSession(err) {
			return fmt.Errorf("publish answer: %w", err)
		}
		s.published(e, err)
	}
}

// published takes an answer out. One that Redis refuses is not tried again: a
// repeated command gets it as soon as Redis takes it.
func (s *Server) published(e *entry, refusal error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out.remove(e)
	if refusal != nil && !s.mute {
		s.log().Warn().Err(refusal).Str("channel", e.channel).Str("advice", redisconn.CauseOf(refusal).Advice()).
			Msg("Redis refuses answers to commands")
	}
	s.mute = refusal != nil
}
