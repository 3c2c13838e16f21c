package controller

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"framekeeper/internal/configfile"
	"framekeeper/internal/redisserver"
	"framekeeper/internal/status"
)

// embedded is the box's own redis-server, nil if it has none.
func (b *box) embedded(ctx context.Context, cfg *configfile.Config) (*redisserver.Server, error) {
	if !cfg.Redis.Embedded {
		return nil, nil //nolint:nilnil // none is what was asked for
	}
	warnOfMemory(redisserver.MemoryFor(len(cfg.Cameras), streamBytes(cfg)), b.logger())
	return newServer(ctx, cfg, b.logger)
}

// newServer makes the server that cfg asks for; nothing runs yet.
func newServer(ctx context.Context, cfg *configfile.Config, log func() *zerolog.Logger) (*redisserver.Server, error) {
	server, err := redisserver.New(ctx, redisserver.Options{
		Redis: cfg.Redis, Dir: filepath.Join(cfg.StateDir, "redis"), Cameras: len(cfg.Cameras), StreamBytes: streamBytes(cfg),
		Log: log, HangTimeout: cfg.Controller.WatchdogTimeout,
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", cfg.Path, err)
	}
	return server, nil
}

// streamBytes is how much of each camera Redis is to hold.
func streamBytes(cfg *configfile.Config) int64 {
	if !cfg.Delivery.Mode.Streams() {
		return 0
	}
	return int64(cfg.Delivery.StreamMaxBytes)
}

// warnOfMemory tells of a server that may take more than half of what there is.
func warnOfMemory(bound int64, log *zerolog.Logger) {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return
	}
	all := int64(uint64(info.Totalram) * uint64(info.Unit)) //nolint:gosec,unconvert // bytes; 32 bits on some machines
	if bound > all/2 {
		log.Warn().Int64("maxmemory", bound).Int64("memory", all).
			Msg("embedded Redis may take more than half of this box's memory: lower delivery.stream_max_bytes")
	}
}

// runServer runs the box's own redis-server, if it has one.
func (p *parts) runServer(ctx context.Context) error {
	if p.server == nil {
		return nil
	}
	return p.server.Run(ctx)
}

// serverPatience is how long a box waits for its own redis-server before it
// starts what would complain that nothing answers.
const serverPatience = time.Second

// awaitServer waits until the box's own redis-server answers, or will not.
func (p *parts) awaitServer(ctx context.Context) {
	if p.server == nil {
		return
	}
	patience := time.NewTimer(serverPatience)
	defer patience.Stop()
	select {
	case <-p.server.Begun():
	case <-patience.C:
	case <-ctx.Done():
	}
}

// redisStatus is nil if the box has no server of its own.
func (p *parts) redisStatus() *status.RedisServer {
	if p.server == nil {
		return nil
	}
	s := p.server.Status()
	return &s
}
