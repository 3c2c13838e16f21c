package agent

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"framekeeper/pkg/camera"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/frame"
)

const (
	inquiries   = 2           // questions without an answer until nobody is alive
	inquiryWait = time.Second // for each answer, at least
	maxRefusal  = 4 << 10     // bytes of an answer: a longer message is none
)

// inquiry asks on the request channel whether another agent serves a camera. Its
// question is a request that every agent, of this version and of all before, refuses
// without an exposure, on either wire, and echoes with its nonce.
type inquiry struct {
	requests, answers string // channels
	nonce, question   string
	wait              time.Duration // for an answer
}

// newInquiry makes one. checkTimeout is how long the link lets a probe take: an answer
// may take as long.
func newInquiry(cam camera.Config, checkTimeout time.Duration) *inquiry {
	nonce := frame.NewRequestID()
	return &inquiry{
		requests: cam.RequestTopic, answers: cam.StreamTopic, wait: max(inquiryWait, checkTimeout), nonce: nonce,
		question: questionStart + nonce + `","timeout_ms":0}`, // no agent accepts this timeout
	}
}

// questionStart is how every agent's question begins.
const questionStart = `{"id":"presence-`

// own reports whether a request is this agent's own question, which it must neither
// answer nor count.
func (i *inquiry) own(payload []byte) bool { return string(payload) == i.question }

// foreign reports whether a request is another agent's question.
func (i *inquiry) foreign(payload []byte) bool {
	return bytes.HasPrefix(payload, []byte(questionStart)) && !i.own(payload)
}

// ask reports whether an agent answers. This one publishes nothing before it is LIVE,
// so that no answer is its own.
func (i *inquiry) ask(ctx context.Context, s *datatransfer.Session) (alive bool, err error) {
	client := s.Client(maxRefusal)
	answers := client.Subscribe(ctx) // no channel yet: nothing is sent
	end := func() { _, _ = answers.Close(), client.Close() }
	defer end()
	defer context.AfterFunc(ctx, end)() // a read in progress does not look at ctx
	err = s.Guarded(func() error {
		if err := answers.Subscribe(ctx, i.answers); err != nil {
			return err
		}
		_, err := answers.Receive(ctx) // the confirmation
		return err
	})
	if err != nil {
		return false, fmt.Errorf("subscribe to %s: %w", i.answers, err)
	}
	heard := make(chan error, 1)
	go func() {
		defer close(heard)
		heard <- s.Guarded(func() error { return i.listen(ctx, answers) })
	}()
	defer func() {
		end()
		for range heard { // until it has returned
		}
	}()
	for range inquiries {
		if err := client.Publish(ctx, i.requests, i.question).Err(); err != nil {
			return false, fmt.Errorf("publish on %s: %w", i.requests, err)
		}
		select {
		case err := <-heard:
			return err == nil, err
		case <-time.After(i.wait):
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	}
	return false, nil
}

// listen returns nil when an answer has come.
func (i *inquiry) listen(ctx context.Context, answers *redis.PubSub) error {
	for {
		m, err := answers.Receive(ctx)
		if err != nil {
			return fmt.Errorf("receive from %s: %w", i.answers, err)
		}
		if m, ok := m.(*redis.Message); ok && strings.Contains(m.Payload, i.nonce) {
			return nil
		}
	}
}
