package client

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	"framekeeper/internal/cli"
	"framekeeper/internal/configfile"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/stream"
)

// poolName is what --group takes: it becomes part of no path and no pattern,
// but operators type it into redis-cli.
var poolName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`) //nolint:gochecknoglobals // a constant

// checkPool refuses a --group that cannot work.
func checkPool(cfg *configfile.Config, f runFlags) error {
	switch {
	case !f.grouped:
		return nil
	case !poolName.MatchString(f.group):
		return cli.Usagef("--group %.80q: expected 1 to 64 of letters, digits, _ . -", f.group)
	case !cfg.Delivery.Mode.Streams():
		return cli.Usagef(`--group shares the frames of a stream, and delivery.mode = %q keeps none; set it to "stream" or "both"`,
			cfg.Delivery.Mode)
	}
	return nil
}

// workerName is this process's name in a pool. Host and process tell an
// operator who it is; the rest keeps boxes made from one image apart.
func workerName() string {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "client"
	}
	return fmt.Sprintf("%s-%d-%s", host, os.Getpid(), strings.ToLower(rand.Text()[:6]))
}

// newPool makes the feed a worker of the pool that shares its stream.
func newPool(f *feed, group, worker string) *stream.GroupConsumer {
	c := stream.GroupConfig{
		Key: f.cam.FramesKey, Group: group, Name: worker, Handle: f.consume, SetAside: f.setAside,
		Log: f.log.With().Str("group", group).Str("worker", worker).Logger(),
	}
	if f.store != nil {
		c.Settle = f.store.Sync
	}
	return stream.NewGroupConsumer(c)
}

// setAside keeps what it can of an entry that the pool gives up: a damaged
// image goes to corrupt/, one that is whole after all to its place. It tries
// once, so that one entry never holds up the rest.
func (f *feed) setAside(id frame.ID, m *frame.Message, _ error) {
	if m == nil || m.Header.Camera != f.cam.Name { // nothing says whose image it is
		f.counts.corrupt.Add(1)
		return
	}
	if f.store == nil || m.Header.Status != frame.StatusOK {
		return
	}
	path, stored, err := f.store.Save(m)
	if !f.settled(m, path, stored, err) {
		f.counts.failed.Add(1)
		f.counts.dropped.Add(1)
		f.log.Error().Err(err).Stringer("id", id).Msg("An image that was set aside could not be stored and is lost")
	}
}

// leave ends the feed's part in its pool in order, so that the other workers
// need not wait for what it has in hand.
func (f *feed) leave(ctx context.Context, link *datatransfer.Link) {
	if f.pool == nil || link.Status().State != datatransfer.Live {
		return
	}
	f.pool.Leave(ctx)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		f.log.Warn().Msg("Frames in hand could not be finished in time; another worker takes them over")
	}
}
