package control

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/async"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/redisconn"
)

// maxQueued is how many answers may wait for a link.
const maxQueued = 1000

// answer is a Reply as it is published.
type answer struct {
	channel string
	text    []byte
	queued  bool // the queue's mutex guards it
}

func newAnswer(r *request, result any, failure error) *answer {
	return &answer{channel: ReplyChannel(r.rivals.Box()), text: encode(&r.Command, r.rivals, result, failure, time.Now())}
}

// Size, Pin and Unpin let a server remember an answer: it always has its bytes.
func (a *answer) Size() int64 { return int64(len(a.text)) }
func (*answer) Pin()          {}
func (*answer) Unpin()        {}

// answerQueue has the answers that wait for a link. What one session does not
// confirm, the next publishes again: callers tell copies by the id.
type answerQueue struct {
	log  func() *zerolog.Logger
	wake async.Wake

	mu      sync.Mutex // guards all below
	queue   []*answer  // oldest first
	size    int64
	dropped uint64 // because too many waited
	refused bool   // Redis refuses answers, and that has been logged
}

func newAnswerQueue(log func() *zerolog.Logger) *answerQueue {
	return &answerQueue{log: log, wake: async.NewWake()}
}

func (q *answerQueue) push(a *answer) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if a.queued {
		return
	}
	a.queued = true
	q.queue = append(q.queue, a)
	q.size += a.Size()
	for len(q.queue) > maxQueued || q.size > maxAnswers && len(q.queue) > 1 {
		q.remove(q.queue[0])
		q.dropped++
		q.log().Warn().Uint64("dropped", q.dropped).Msg("Too many answers to commands wait for Redis; the oldest are dropped")
	}
	q.wake.Call()
}

func (q *answerQueue) first() *answer {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.queue) == 0 {
		return nil
	}
	return q.queue[0]
}

// remove takes out the first answer, if it is still this one. The caller holds mu.
func (q *answerQueue) remove(a *answer) {
	if len(q.queue) > 0 && q.queue[0] == a {
		a.queued = false
		q.queue = q.queue[1:]
		q.size -= a.Size()
	}
}

func (q *answerQueue) run(ctx context.Context, s *datatransfer.Session) error {
	for {
		a := q.first()
		if a == nil {
			select {
			case <-q.wake:
				continue
			case <-ctx.Done():
				return nil
			}
		}
		err := s.Data().Publish(ctx, a.channel, a.text).Err()
		if redisconn.EndsSession(err) {
			return fmt.Errorf("publish answer: %w", err)
		}
		q.published(a, err)
	}
}

// published takes an answer out. One that Redis refuses is not tried again: a
// repeated command gets it as soon as Redis accepts it.
func (q *answerQueue) published(a *answer, refusal error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.remove(a)
	if refusal != nil && !q.refused {
		q.log().Warn().Err(refusal).Str("channel", a.channel).Str("advice", redisconn.CauseOf(refusal).Advice()).
			Msg("Redis refuses answers to commands")
	}
	q.refused = refusal != nil
}
