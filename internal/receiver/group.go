package receiver

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

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
		SetAside: func(id frame.ID, m *frame.Message, _ error) { setAside(cam.Name, s, id, m) },
	}
	if s.store != nil {
		c.Settle = s.store.Sync
	}
	return stream.NewGroupConsumer(c)
}

// setAside stores what it can of an entry that the group gives up: a damaged
// image goes to corrupt/, one that is whole after all to its place. It tries
// once, so that one entry never holds up the rest.
func setAside(camera string, s *storer, id frame.ID, m *frame.Message) {
	if m == nil || m.Header.Camera != camera { // it cannot be attributed
		s.counts.add(corrupt, 1)
		return
	}
	if s.store == nil || m.Header.Status != frame.StatusOK {
		return
	}
	if err := s.try(m); err != nil {
		s.counts.add(dropped, 1)
		s.log.Error().Err(err).Stringer("id", id).Msg("An image that was set aside could not be stored and is lost")
	}
}

// leave takes a consumer out of its group in order, so that the others need not
// wait for what it has in hand.
func leave(ctx context.Context, group *stream.GroupConsumer, log zerolog.Logger) {
	group.Leave(ctx)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		log.Warn().Msg("Frames could not be stored in time at the end; another consumer takes them over")
	}
}
