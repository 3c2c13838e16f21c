package redisserver

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"github.com/rs/zerolog"

	"framekeeper/internal/supervise"
)

// live runs one process to its end. The error says how it ended, or why it was
// not started.
func (s *Server) live(ctx context.Context, first bool) (time.Duration, error) {
	set, err := s.settings(ctx)
	if err != nil {
		return 0, err // it goes on waiting
	}
	said := &speech{log: s.opt.Log()}
	child, err := supervise.StartChild(supervise.ChildSpec{
		Path: s.path, Args: []string{"-"}, // its configuration comes on standard input
		// Nothing of ours: not a password in a variable, not systemd's socket.
		Env:   []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"},
		Stdin: set.conf(), Output: said,
	})
	if err != nil {
		return 0, fmt.Errorf("start %s: %w", s.path, err)
	}
	began := time.Now()
	s.mu.Lock()
	if !first {
		s.status.Restarts++
	}
	s.mu.Unlock()
	s.set(Starting, child.PID())
	err = s.follow(ctx, child, set)
	<-child.Done() // follow has seen to it
	if err == nil {
		err = errors.New(child.Ended() + said.after(": "))
	}
	return time.Since(began), err
}

// settings finds out what the next process is to be told.
func (s *Server) settings(ctx context.Context) (*settings, error) {
	set := &settings{place: s.place, dir: s.workDir(), memory: s.Status().Memory, admin: rand.Text()}
	var err error
	if set.addrs, err = s.place.addresses(ctx); err != nil {
		return nil, err
	}
	if set.password, err = s.opt.Redis.Password(); err != nil {
		return nil, err
	}
	open := slices.ContainsFunc(set.addrs, func(a netip.Addr) bool { return !a.IsLoopback() })
	if open && set.password == "" {
		return nil, fmt.Errorf("%s is for others to reach, and password_file %s is empty", s.place.host, s.opt.Redis.PasswordFile)
	}
	return set, s.place.free(ctx, set.addrs)
}

// workDir is where the server would write if it wrote. On a read-only disk any
// place is as good.
func (s *Server) workDir() string {
	if err := os.MkdirAll(s.opt.Dir, 0o700); err != nil {
		return "/"
	}
	return s.opt.Dir
}

// follow watches the process until it has ended, brings that about when ctx
// ends or it does not answer, and says why in the latter case.
func (s *Server) follow(ctx context.Context, child *supervise.Child, set *settings) error {
	w := watcher{Server: s, told: set, client: s.newClient(set), child: child}
	silent := w.run(ctx)
	switch {
	case ctx.Err() != nil:
		s.set(Stopped, child.PID())
		if !child.Stop(s.opt.StopTimeout) {
			s.opt.Log().Warn().Int("pid", child.PID()).Stringer("after", s.opt.StopTimeout).Msg("Embedded Redis did not stop and was killed")
		}
	case silent:
		s.mu.Lock()
		s.status.Hangs++
		s.mu.Unlock()
		s.set(Hanging, child.PID())
		s.opt.Log().Error().Int("pid", child.PID()).Stringer("for", s.opt.HangTimeout).Msg("Embedded Redis does not answer, killing it")
		child.Kill()
		return fmt.Errorf("did not answer for %v and was killed", s.opt.HangTimeout)
	}
	return nil
}

// newClient is the watcher's own way in.
func (s *Server) newClient(set *settings) *redis.Client {
	network, addr := s.place.dial(set.addrs)
	look := s.opt.HangTimeout / looks
	return redis.NewClient(&redis.Options{
		Network: network, Addr: addr, Username: adminUser, Password: set.admin, Protocol: 2, DisableIdentity: true,
		// One is used. A pool with as many failed dials as it has room for leaves a
		// goroutine behind that tries once a second.
		PoolSize: 16, MaxRetries: -1, DialerRetries: 1, DialTimeout: look, ReadTimeout: look, WriteTimeout: look,
		ContextTimeoutEnabled: true, ConnMaxIdleTime: -1,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
}

// speech takes what the process writes, one line at a time, and keeps the last.
// It is read once the process is gone.
type speech struct {
	log *zerolog.Logger
	end string
}

func (s *speech) Write(line []byte) (int, error) {
	text := printable(line)
	if text != "" {
		if !strings.Contains(text, " # WARNING ") { // advice about the machine, given at each start: nothing ended of it
			s.end = text
		}
		s.log.Debug().Str("part", "redis-server").Msg(text)
	}
	return len(line), nil
}

// after is the last line behind a prefix, "" if there was none.
func (s *speech) after(prefix string) string {
	if s.end == "" {
		return ""
	}
	return prefix + s.end
}

func printable(line []byte) string {
	const enough = 300
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, string(line[:min(len(line), enough)])))
}
