package main

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"framekeeper/internal/config"
	"framekeeper/internal/redisserver"
	"framekeeper/pkg/datatransfer"
)

// embedded is the box's own redis-server, nil if it has none.
func embedded(ctx context.Context, cfg *config.Config, log zerolog.Logger) (*redisserver.Server, error) {
	if !cfg.Redis.Embedded {
		return nil, nil //nolint:nilnil // none is what was asked for
	}
	bytes := int64(cfg.Delivery.StreamMaxBytes)
	if cfg.Delivery.Mode == datatransfer.ModePubSub {
		bytes = 0
	}
	warnOfMemory(redisserver.MemoryFor(len(cfg.Cameras), bytes), log)
	server, err := redisserver.New(ctx, redisserver.Options{
		Redis: cfg.Redis, Dir: filepath.Join(cfg.StateDir, "redis"), Cameras: len(cfg.Cameras), StreamBytes: bytes, Log: log,
		HangTimeout: cfg.Controller.WatchdogTimeout,
	})
	if err != nil {
		return nil, &usageError{fmt.Errorf("%s: %w", cfg.Path, err)}
	}
	return server, nil
}

// warnOfMemory tells of a server that may take more than half of what there is.
func warnOfMemory(bound int64, log zerolog.Logger) {
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

// redisStatus is nil if the box has no server of its own.
func (b *box) redisStatus() *redisserver.Status {
	if b.redis == nil {
		return nil
	}
	s := b.redis.Status()
	return &s
}

// serveRedis runs the box's own redis-server beside everything else, and for
// longer: agents that are being stopped still hand over what they hold.
func (b *box) serveRedis(ctx context.Context) (stop func()) {
	if b.redis == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = b.redis.Run(ctx) // its errors are its own to outlive
	}()
	return func() {
		cancel()
		<-done
	}
}
