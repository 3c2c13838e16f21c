package client

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"framekeeper/pkg/frame"
	"framekeeper/pkg/redisconn"
)

// maxEpochs bounds the last look at a stream: Redis sends an image for each.
const maxEpochs = 8

// streamEnd is what a stream held when it was last looked at. Redis counts no
// entries from an ID on, and sends the images along with the IDs; but IDs are
// numbered, from 0 in each epoch, so the last of each epoch tells.
type streamEnd struct {
	length uint64
	last   []frame.ID // of each epoch, newest first, down to the watermark's
}

// lookAtStream looks no further down than the watermark's epoch.
func lookAtStream(ctx context.Context, c *redis.Client, key string, mark frame.ID) (*streamEnd, error) {
	length, err := c.XLen(ctx, key).Uint64()
	if err != nil {
		return nil, fmt.Errorf("read length of %s: %w", key, err)
	}
	end := &streamEnd{length: length}
	for from := "+"; len(end.last) < maxEpochs; {
		id, err := redisconn.LastID(ctx, c, key, from)
		if err != nil {
			return nil, err
		}
		if id.IsZero() {
			break
		}
		end.last = append(end.last, id)
		if id.Epoch <= mark.Epoch {
			break
		}
		from = "(" + strconv.FormatUint(id.Epoch, 10) + "-0"
	}
	return end, nil
}

// above is how many entries there are above the watermark: never more than the
// stream holds, and holes count like entries.
func (e *streamEnd) above(mark frame.ID) uint64 {
	if e == nil {
		return 0
	}
	var n uint64
	for _, id := range e.last {
		switch {
		case !mark.Less(id):
		case id.Epoch == mark.Epoch:
			n += id.Seq - mark.Seq
		default:
			n += id.Seq + 1
		}
	}
	return min(n, e.length)
}

// lookAtEnds looks at all followed streams while there is still a session. What
// is read of them meanwhile is accounted for by the watermark.
func (r *runner) lookAtEnds(limit time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	s := r.link.Session()
	if s == nil {
		return
	}
	for _, f := range r.feeds {
		if f.follower == nil {
			continue
		}
		end, err := lookAtStream(ctx, s.Data(), f.cam.FramesKey, f.follower.stats().Watermark)
		if err != nil {
			if !errors.Is(err, context.DeadlineExceeded) {
				f.log.Debug().Err(err).Msg("The stream's end could not be looked at")
			}
			continue
		}
		f.follower.end = end
	}
}
