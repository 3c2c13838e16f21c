package controller

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/configfile"
	commands "framekeeper/internal/control"
	"framekeeper/internal/logging"
	"framekeeper/internal/redisserver"
	"framekeeper/internal/supervise"
	"framekeeper/internal/web"
)

// reloadTime is how long a reload by signal waits for the agents.
const reloadTime = time.Minute

// reloadOn reads the configuration again at each SIGHUP.
func (b *box) reloadOn(ctx context.Context, hangups <-chan os.Signal) error {
	for {
		select {
		case <-hangups:
			limited, cancel := context.WithTimeout(ctx, reloadTime)
			_, _ = b.reload(limited) // it is in the log
			cancel()
		case <-ctx.Done():
			return nil
		}
	}
}

// reload takes over what has changed in the configuration, and leaves alone
// what has not. One that is wrong in anything is refused whole, and everything
// goes on as before. An error with a result tells of agents that do not run
// with it.
func (b *box) reload(ctx context.Context) (*commands.ReloadResult, error) {
	b.reloading.Lock()
	defer b.reloading.Unlock()
	b.mu.Lock()
	old := b.cfg
	b.mu.Unlock()
	next, err := b.prepare(ctx, old)
	if err != nil {
		b.reloads.Note(true, err, time.Now())
		b.logger().Error().Strs("problems", strings.Split(err.Error(), "\n")).Msg("the new configuration is refused, the old one goes on")
		return nil, fmt.Errorf("the new configuration is refused, the old one goes on: %w", err)
	}
	result, err := b.takeOver(ctx, old, next)
	level := zerolog.InfoLevel
	if err != nil {
		level = zerolog.ErrorLevel
	}
	c := &result.Cameras
	b.logger().WithLevel(level).Err(err).Strs("sections", result.Sections).Strs("started", c.Started).Strs("restarted", c.Restarted).
		Strs("stopped", c.Stopped).Strs("kept", c.Kept).Msg("configuration reloaded")
	return result, err
}

// prepared is a new configuration with everything that could fail made for it.
type prepared struct {
	cfg    *configfile.Config
	log    zerolog.Logger
	closer io.Closer   // nil: log is the one there was
	web    *web.Server // nil: the address is the same, or there is to be none

	server *redisserver.Server // nil: it is the one there was, or there is to be none
}

// prepare reads the file and makes what may fail.
func (b *box) prepare(ctx context.Context, old *configfile.Config) (n prepared, err error) {
	if n.cfg, err = configfile.Load(old.Path); err != nil {
		return n, err
	}
	if err := fixed(old, n.cfg); err != nil {
		return n, err
	}
	if _, err := agentSpecs(n.cfg); err != nil {
		return n, err
	}
	if serving(old) != serving(n.cfg) {
		if n.server, err = b.embedded(ctx, n.cfg); err != nil {
			return n, err
		}
	}
	n.log = *b.logger()
	if n.cfg.Log != old.Log {
		if n.log, n.closer, err = logging.New(n.cfg.Log, "controller", b.stderr); err != nil {
			return n, err
		}
	}
	n.web, err = b.preparePage(ctx, old, n.cfg, n.log)
	if err != nil && n.closer != nil {
		_ = n.closer.Close() // the first error counts
	}
	return n, err
}

// preparePage takes the page's address if it is another one. It comes last: what
// is in the way of 0.0.0.0:8080 may be our own page at 127.0.0.1:8080, which then
// has to go, and comes back if that was not all.
func (b *box) preparePage(ctx context.Context, old, next *configfile.Config, log zerolog.Logger) (*web.Server, error) {
	c := &next.Controller
	if c.HTTP == old.Controller.HTTP {
		if c.HTTP == "" {
			return nil, nil //nolint:nilnil // there is none, and nothing wrong
		}
		return nil, web.CheckPassword(c.HTTPUser, c.HTTPPasswordFile)
	}
	page, err := b.listen(ctx, next, log)
	if !errors.Is(err, web.ErrInUse) || port(c.HTTP) != port(old.Controller.HTTP) {
		return page, err
	}
	b.web.clear()
	if page, err = b.listen(ctx, next, log); err == nil {
		return page, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	var gone error
	if b.parts.web, gone = b.listen(ctx, old, log); gone != nil {
		return nil, errors.Join(err, gone)
	}
	p := b.parts
	b.web.put(p.runWeb)
	return nil, err
}

func port(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }

// fixed refuses what a running controller cannot change.
func fixed(old, next *configfile.Config) error {
	if next.StateDir != old.StateDir {
		return fmt.Errorf("%s: state_dir = %q: it was %q and cannot change while the controller runs: restart the controller",
			next.Path, next.StateDir, old.StateDir)
	}
	return nil
}

// takeOver replaces the parts whose configuration has changed, and has the
// supervisor do the same with the agents.
func (b *box) takeOver(ctx context.Context, old *configfile.Config, n prepared) (*commands.ReloadResult, error) {
	result := &commands.ReloadResult{Sections: changed(old, n.cfg)}
	b.mu.Lock()
	p, closer := b.parts, b.closer
	b.mu.Unlock()
	if serving(old) != serving(n.cfg) {
		p.server = n.server
		b.server.put(p.runServer)
	} else if p.server != nil {
		p.server.Resize(len(n.cfg.Cameras), streamBytes(n.cfg))
	}
	redis := n.closer != nil || telling(old) != telling(n.cfg) || !reflect.DeepEqual(old.Redis, n.cfg.Redis)
	page := n.closer != nil || visible(old) != visible(n.cfg) || p.web != nil && p.web.PasswordChanged() ||
		p.web == nil && n.cfg.Controller.HTTP != "" // its address was taken when it was needed
	if redis {
		fresh := b.redisSide(n.cfg, n.log)
		p.watch, p.rivals, p.sampler, p.link = fresh.watch, fresh.rivals, fresh.sampler, fresh.link
	} else {
		p.watch.follow(n.cfg.Cameras)
	}
	var failed error
	if page {
		if n.web == nil { // the same address, or none
			b.web.clear()
			n.web, failed = b.listen(ctx, n.cfg, n.log)
		}
		p.web = n.web
	}
	b.mu.Lock()
	b.cfg, b.loaded, b.log, b.parts = n.cfg, time.Now(), n.log, p
	if n.closer != nil {
		b.closer = n.closer
	}
	b.mu.Unlock()
	if redis {
		b.redis.put(p.runRedis)
	}
	if page {
		b.web.put(p.runWeb)
	}
	result.Cameras, failed = b.takeOverAgents(ctx, n, failed)
	b.orphans.Search()
	if n.closer != nil {
		failed = errors.Join(failed, closer.Close())
	}
	return result, failed
}

// takeOverAgents is the last part of it. From here on every agent is started with
// the new configuration; one that does not come up is started again, and its
// camera shows how it is. So what has failed by then is what came of the reload.
func (b *box) takeOverAgents(ctx context.Context, n prepared, failed error) (supervise.Changes, error) {
	o, err := b.supervision(n.cfg, n.log)
	failed = errors.Join(failed, err)
	b.reloads.Note(false, failed, time.Now())
	if err != nil {
		return supervise.Changes{}, failed
	}
	changes, err := b.supervisor.Update(ctx, o)
	return changes, errors.Join(failed, err)
}

// telling is what the Redis side is made of, besides [redis].
func telling(c *configfile.Config) string {
	return fmt.Sprintf("%q %q %s %s", c.Controller.Box, c.Controller.LogTopic, c.Controller.LogFormat, c.Controller.LogInterval)
}

// serving is what the box's own redis-server is made of, besides its size.
func serving(c *configfile.Config) string {
	if !c.Redis.Embedded {
		return ""
	}
	return fmt.Sprintf("%q %q %q %s", c.Redis.URL, c.Redis.Username, c.Redis.PasswordFile, c.Controller.WatchdogTimeout)
}

// visible is what the web page is made of.
func visible(c *configfile.Config) string {
	return fmt.Sprintf("%q %q %q", c.Controller.HTTP, c.Controller.HTTPUser, c.Controller.HTTPPasswordFile)
}

// changed names the sections that differ, as the file has them.
func changed(old, next *configfile.Config) []string {
	names := []string{}
	for _, s := range []struct {
		name      string
		old, next any
	}{
		{"redis", old.Redis, next.Redis}, {"delivery", old.Delivery, next.Delivery}, {"log", old.Log, next.Log},
		{"controller", old.Controller, next.Controller}, {"client", old.Client, next.Client}, {"camera", old.Cameras, next.Cameras},
	} {
		if !reflect.DeepEqual(s.old, s.next) {
			names = append(names, s.name)
		}
	}
	return names
}
