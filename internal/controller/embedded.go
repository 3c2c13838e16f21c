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
)

// serverPart makes the box's own redis-server; nil if it has none.
type serverPart struct {
	current *replaceable[*redisserver.Server]
	log     func() *zerolog.Logger
}

func (p *serverPart) make(ctx context.Context, cfg *configfile.Config) (*redisserver.Server, error) {
	if !cfg.Redis.Embedded {
		return nil, nil //nolint:nilnil // none is what was asked for
	}
	memory, frame := serverMemory(cfg)
	warnOfMemory(memory, p.log())
	server, err := redisserver.New(ctx, redisserver.Options{
		Redis: cfg.Redis, Dir: filepath.Join(cfg.StateDir, "redis"), Memory: memory, Frame: frame, Log: p.log, HangTimeout: cfg.Controller.Agents.WatchdogTimeout,
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", cfg.Path, err)
	}
	return server, nil
}

// prepare makes another one if what it is started with has changed.
func (p *serverPart) prepare(ctx context.Context, c *change) (func() error, error) {
	if serverSettings(c.old) == serverSettings(c.next) {
		return func() error { return nil }, nil
	}
	server, err := p.make(ctx, c.next)
	return func() error { p.current.replace(server); return nil }, err
}

// serverSettings are what a process of it is started with.
func serverSettings(c *configfile.Config) any {
	if !c.Redis.Embedded {
		return nil
	}
	memory, frame := serverMemory(c)
	return [...]any{c.Redis.URL, c.Redis.Username, c.Redis.PasswordFile, c.Controller.Agents.WatchdogTimeout, memory, frame}
}

// serverMemory bounds what the streams of all cameras may take, and the frames on
// their way; frame is the largest of all.
func serverMemory(cfg *configfile.Config) (memory, frame int64) {
	largest := make([]int64, len(cfg.Cameras))
	for i := range cfg.Cameras {
		largest[i] = cfg.Cameras[i].LargestFrame()
		frame = max(frame, largest[i])
	}
	if !cfg.Delivery.Mode.Streams() {
		return redisserver.MemoryFor(0, largest...), frame
	}
	return redisserver.MemoryFor(int64(cfg.Delivery.StreamMaxBytes), largest...), frame
}

// warnOfMemory reports a server that may take more than half of what there is.
func warnOfMemory(bound int64, log *zerolog.Logger) {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return
	}
	all := int64(uint64(info.Totalram) * uint64(info.Unit)) //nolint:gosec,unconvert // bytes; 32 bits on some machines
	if bound > all/2 {
		log.Warn().Int64("maxmemory", bound).Int64("memory", all).
			Msg("Embedded Redis may take more than half of this box's memory: lower delivery.stream_max_bytes, or what the cameras take (width, height, encoding)")
	}
}

func runServer(ctx context.Context, s *redisserver.Server) error {
	if s == nil {
		return nil
	}
	return s.Run(ctx)
}

// serverPatience is how long a box waits for its own redis-server before it
// starts what would complain that nothing answers.
const serverPatience = time.Second

// awaitServer waits until the box's own redis-server answers, or will not.
func awaitServer(ctx context.Context, s *redisserver.Server) {
	if s == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, serverPatience)
	defer cancel()
	select {
	case <-s.Begun():
	case <-ctx.Done():
	}
}
