package receiver

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"framekeeper/pkg/camera"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/stream"
)

// GroupExpected is what ValidGroup accepts.
const GroupExpected = "1 to 64 of letters, digits, _ . -"

var groupName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`) //nolint:gochecknoglobals // a constant

// ValidGroup reports whether a consumer group may be called that: the name becomes
// part of no path and no pattern, but operators type it into redis-cli.
func ValidGroup(name string) bool { return groupName.MatchString(name) }

// consumerName is this process's name in a consumer group. Host and process ID
// identify it to an operator; the rest distinguishes boxes that were made from
// one image.
func consumerName() string {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "client"
	}
	return fmt.Sprintf("%s-%d-%s", host, os.Getpid(), strings.ToLower(rand.Text()[:6]))
}

// newGroup makes a consumer of the group that shares the camera's stream.
func newGroup(
	cam *camera.Config, group, consumer string, handle func(context.Context, *frame.Message) error, s *storer, log zerolog.Logger,
) *stream.GroupConsumer {
	c := stream.GroupConfig{
		Key: cam.FramesKey, Group: group, Name: consumer, Handle: handle,
		Log:      log.With().Str("group", group).Str("consumer", consumer).Logger(),
		SetAside: func(_ frame.ID, m *frame.Message, _ error) { s.setAside(m) },
	}
	if s.store != nil {
		c.Settle = s.settle
	}
	return stream.NewGroupConsumer(c)
}

// readPending reads what another consumer has to take over.
func (c *cameraReceiver) readPending(ctx context.Context, r *redis.Client) {
	n, err := c.group.Pending(ctx, r)
	if err != nil {
		c.log.Debug().Err(err).Msg("The pending entries could not be counted")
		return
	}
	c.pending = &n
}

// leave takes a consumer out of its group in order, so that the others need not
// wait for what it has in hand.
func leave(ctx context.Context, group *stream.GroupConsumer, log zerolog.Logger) {
	group.Leave(ctx)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		log.Warn().Msg("Frames could not be stored in time at the end; another consumer takes them over")
	}
}
