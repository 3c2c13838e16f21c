package rpc

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"framekeeper/pkg/frame"
	"framekeeper/pkg/redisconn"

	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/outbox"
)

const (
	recallWindow = 30 * time.Second // how far back answers are read again after a restart
	recallPage   = 4                // entries in one reply
	recallTime   = time.Second      // no further page after that: a slow line must not hold up the start
)

// Recall reads the newest answers back from the stream, so that a request whose
// answer was lost with the agent gets the same one when it is repeated. now is
// in Unix microseconds.
func (r *Server) Recall(ctx context.Context, s *datatransfer.Session, key string, now int64) error {
	oldest := now - recallWindow.Microseconds()
	var found []*frame.Message
	size, end := 0, "+"
	began := time.Now()
	for size < int(r.cfg.Memory) && len(found) < maxAnswered && time.Since(began) < recallTime {
		entries, err := s.Data().XRevRangeN(ctx, key, end, "-", recallPage).Result()
		if err != nil {
			if redisconn.EndsSession(err) {
				return fmt.Errorf("read answers back from %s: %w", key, err)
			}
			return nil // not permitted: then repeats are captured anew
		}
		for _, e := range entries {
			head, _ := e.Values["header"].(string)
			image, _ := e.Values["image"].(string)
			m, err := frame.JoinMessage([]byte(head), []byte(image))
			if err != nil {
				continue
			}
			if m.Header.PublishedUS < oldest {
				entries = nil
				break
			}
			if m.Header.Status == frame.StatusOK && m.Header.Request != nil {
				found = append(found, m)
				size += m.Size()
			}
		}
		if len(entries) < recallPage {
			break
		}
		end = "(" + entries[len(entries)-1].ID
	}
	r.rememberAll(found)
	return nil
}

// RecallKept does the same for answers that an earlier start left on disk: Redis
// does not have them yet. It is to be called after the epoch is settled.
func (r *Server) RecallKept(s *outbox.Spooler, now int64) {
	oldest := now - recallWindow.Microseconds()
	var found []*frame.Message
	size, began := 0, time.Now() // a wrong clock makes all of a backlog look new
	for _, e := range s.Inherited() {
		h, err := s.Header(e.File)
		switch {
		case err != nil:
			continue // the drain meets it again and declares it
		case h.PublishedUS < oldest, size >= int(r.cfg.Memory), time.Since(began) > recallTime, len(found) >= maxAnswered:
			r.rememberAll(found)
			return
		case h.Status != frame.StatusOK || h.Request == nil:
			continue
		}
		m, err := s.Get(e.File)
		if err == nil && m.Header.ID != e.ID { // written before the epoch was raised
			h.ID = e.ID
			m, err = frame.NewMessage(h, m.Image())
		}
		if err == nil {
			found = append(found, m)
			size += m.Size()
		}
	}
	r.rememberAll(found)
}

// rememberAll takes answers newest first, and remembers them in the order in
// which they were given.
func (r *Server) rememberAll(found []*frame.Message) {
	for _, m := range slices.Backward(found) {
		var key struct {
			ID string `json:"id"`
		}
		if json.Unmarshal(m.Header.Request, &key) == nil && key.ID != "" {
			r.remember(key.ID, outbox.NewItem(m, nil))
		}
	}
}
