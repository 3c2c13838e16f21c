package datatransfer

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"framekeeper/pkg/frame"
	"framekeeper/pkg/redisconn"
)

const (
	recallWindow = 30 * time.Second // how far back answers are read again after a restart
	recallPage   = 16               // entries in one reply
)

// Recall reads the newest answers back from the stream, so that a request whose
// answer was lost with the agent gets the same one when it is repeated. now is
// in Unix microseconds.
func (r *Requests) Recall(ctx context.Context, s *Session, key string, now int64) error {
	oldest := now - recallWindow.Microseconds()
	var found []*frame.Message
	size, end := 0, "+"
	for size < maxAnsweredSize && len(found) < maxAnswered {
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
	for _, m := range slices.Backward(found) { // oldest first, as they were answered
		var key struct {
			ID string `json:"id"`
		}
		if json.Unmarshal(m.Header.Request, &key) == nil && key.ID != "" {
			r.remember(key.ID, NewItem(m, nil))
		}
	}
	return nil
}
