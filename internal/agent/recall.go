package agent

import (
	"context"
	"fmt"
	"slices"
	"time"

	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/outbox"
	"framekeeper/pkg/redisconn"
	"framekeeper/pkg/rpc"
)

const (
	recallWindow = 30 * time.Second // how far back answers are read again after a restart
	recallPage   = 4                // entries in one reply
	recallTime   = time.Second      // no further page after that: a slow connection must not hold up the start
)

// recall reads back the newest answers of an earlier start, so that a request
// whose answer was lost with the agent gets the same one when it is repeated.
type recall struct {
	Key      string       // the stream
	Memory   int64        // bytes of answers
	Now      func() int64 // Unix microseconds
	Remember func(id string, answer *outbox.Item)
}

// recalled are answers, the newest first.
type recalled struct {
	answers []*frame.Message
	size    int64
	limit   int64 // of size
	oldest  int64 // in Unix microseconds
	ended   bool  // what is older than that has been reached
	began   time.Time
}

func (r *recall) begin() *recalled {
	return &recalled{oldest: r.Now() - recallWindow.Microseconds(), limit: min(r.Memory, rpc.MaxMemory), began: time.Now()}
}

// enough is also true after recallTime: a wrong clock makes a whole backlog look new.
func (f *recalled) enough() bool {
	return f.ended || f.size >= f.limit || len(f.answers) >= rpc.MaxAnswers || time.Since(f.began) > recallTime
}

// wants reports whether a message of this header is an answer to remember.
func (f *recalled) wants(h frame.Header) bool {
	f.ended = f.ended || h.PublishedUS < f.oldest
	return !f.ended && h.Status == frame.StatusOK && h.Request != nil
}

func (f *recalled) add(m *frame.Message) {
	f.answers = append(f.answers, m)
	f.size += int64(m.Size())
}

// fromStream reads the answers that reached Redis.
func (r *recall) fromStream(ctx context.Context, s *datatransfer.Session) error {
	found, end, page := r.begin(), "+", recallPage
	for page == recallPage && !found.enough() {
		entries, err := s.Data().XRevRangeN(ctx, r.Key, end, "-", recallPage).Result()
		if redisconn.EndsSession(err) {
			return fmt.Errorf("read answers back from %s: %w", r.Key, err)
		}
		if err != nil {
			return nil // not permitted: then repeats are captured anew
		}
		page = len(entries)
		for _, e := range entries {
			end = "(" + e.ID
			if m, err := frame.ParseEntry(e.Values); err == nil && found.wants(m.Header) {
				found.add(m)
			}
		}
	}
	r.rememberAll(found)
	return nil
}

// fromSpool reads the answers that are on disk because Redis did not get them. It
// is called after the epoch is settled. A file that cannot be read is declared when
// it is drained.
func (r *recall) fromSpool(s *outbox.Spooler) {
	found := r.begin()
	for _, e := range s.Earlier() {
		if found.enough() {
			break
		}
		if h, err := s.Header(e); err != nil || !found.wants(h) {
			continue
		}
		if m, err := s.Message(e); err == nil {
			found.add(m)
		}
	}
	r.rememberAll(found)
}

// rememberAll remembers answers in the order in which they were given.
func (r *recall) rememberAll(found *recalled) {
	for _, m := range slices.Backward(found.answers) {
		if id := m.Header.RequestID(); id != "" {
			r.Remember(id, outbox.NewItem(m))
		}
	}
}
