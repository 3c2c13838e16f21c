package agent

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"framekeeper/internal/bytesize"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/redisconn"
)

// outputLimit is how many bytes Redis holds for a subscriber before it cuts it off:
// hard at once, soft after so many seconds; 0: any. Redis reckons the seconds from one
// look at the limit to the next, so that two large messages a minute apart are enough.
type outputLimit struct {
	hard, soft, seconds int64
	asked               bool   // Redis was, and answered
	unfit               string // why it cannot be used at all, and what to do; "": as far as is known it can
}

const (
	outputLimitKey = "client-output-buffer-limit"
	askLimit       = 2 * time.Second
)

// defaultOutputLimit is what Redis has where nothing is configured.
func defaultOutputLimit() outputLimit {
	return outputLimit{hard: int64(32 * bytesize.MiB), soft: int64(8 * bytesize.MiB), seconds: 60}
}

// parseOutputLimit reads "… pubsub 33554432 8388608 60".
func parseOutputLimit(value string) (outputLimit, bool) {
	fields := strings.Fields(value)
	for i := 0; i+3 < len(fields); i++ {
		if fields[i] != "pubsub" {
			continue
		}
		var n [3]int64
		for j := range n {
			var err error
			if n[j], err = strconv.ParseInt(fields[i+1+j], 10, 64); err != nil {
				return outputLimit{}, false
			}
		}
		return outputLimit{hard: n[0], soft: n[1], seconds: n[2], asked: true}, true
	}
	return outputLimit{}, false
}

// readOutputLimit asks Redis. Where that is not permitted, the default is assumed; an
// error is one of the connection.
func readOutputLimit(ctx context.Context, c redis.Cmdable) (outputLimit, error) {
	values, err := c.ConfigGet(ctx, outputLimitKey).Result()
	if err != nil && !redisconn.IsReply(err) {
		return defaultOutputLimit(), err
	}
	if l, ok := parseOutputLimit(values[outputLimitKey]); ok {
		return l, nil
	}
	return defaultOutputLimit(), nil
}

// askOutputLimit is readOutputLimit on a connection of its own. A Redis that is away
// is assumed to have the default; of one that is none of those supported it says so.
// The controller's own has room for large frames.
func askOutputLimit(ctx context.Context, cfg redisconn.Config) outputLimit {
	if cfg.Embedded {
		return outputLimit{}
	}
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	target, err := redisconn.Open(ctx, cfg)
	if err != nil {
		return defaultOutputLimit()
	}
	defer target.Close()
	target.Limit(redisconn.Limits{Message: maxRefusal, Reply: maxRefusal})
	c := target.Client(redisconn.Data)
	defer func() { _ = c.Close() }()
	l, err := readOutputLimit(ctx, c)
	switch cause := redisconn.CauseOf(err); cause {
	case redisconn.CauseCluster, redisconn.CauseOld:
		l.unfit = fmt.Sprintf("%v; %s", err, cause.Advice())
	default: // it may be another one by the time it is needed
	}
	return l
}

// pixelBytes is how many bytes a message of uncompressed pixels has; 0 for a camera
// whose messages have none.
func pixelBytes(cam *camera.Config, width, height int) int64 {
	if cam.Encoding != frame.Raw && cam.Wire != camera.WirePickle {
		return 0
	}
	return 3 * int64(width) * int64(height)
}

// warning is what a message of so many bytes does to a subscriber; "" if nothing.
func (l outputLimit) warning(bytes int64) string {
	what := ""
	switch {
	case l.unfit != "":
		return l.unfit
	case bytes == 0:
	case l.hard > 0 && bytes > l.hard:
		what = "no subscriber ever gets it"
	case l.soft > 0 && bytes > l.soft:
		what = fmt.Sprintf("a subscriber that gets one seldom is cut off at the second, when there are %d s between them", l.seconds)
	}
	if what == "" {
		return ""
	}
	from := ""
	if !l.asked {
		from = ", its default"
	}
	return fmt.Sprintf("a frame has %d bytes of pixels, more than Redis's limit for what waits for a subscriber (%s pubsub %d %d %d%s): %s. "+
		"Raise that limit, or use jpeg or a smaller size", bytes, outputLimitKey, l.hard, l.soft, l.seconds, from, what)
}

// outputLimitWorker warns once, at the first session, of frames beyond the limit.
func outputLimitWorker(cfg redisconn.Config, cam *camera.Config, log zerolog.Logger) datatransfer.Worker {
	var done atomic.Bool
	done.Store(cfg.Embedded) // which has room for large frames
	return datatransfer.Worker{Name: "output limit", Run: func(ctx context.Context, s *datatransfer.Session) error {
		bytes := pixelBytes(cam, cam.Width, cam.Height)
		if bytes == 0 || done.Load() {
			return nil
		}
		l, err := readOutputLimit(ctx, s.Data())
		if err != nil {
			return err
		}
		if w := l.warning(bytes); w != "" {
			log.Warn().Str("reason", w).Msg("Frames are larger than what Redis holds for a subscriber")
		}
		done.Store(true) // one session has one such worker
		return nil
	}}
}
