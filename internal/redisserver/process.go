package redisserver

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"github.com/rs/zerolog"

	"framekeeper/internal/status"
	"framekeeper/internal/supervise"
	"framekeeper/internal/text"
	"framekeeper/pkg/redisconn"
)

const (
	// misses is how many probes in a row must fail, each within a part of
	// HangTimeout, until the server counts as hanging. One alone proves nothing: it
	// may be the controller that stood still.
	misses = 4
	// eager is the pause between the probes of a server that is just coming up.
	eager = 20 * time.Millisecond
)

// errChanged ends a process that was started with another password.
var errChanged = errors.New("the password has changed")

// runProcess runs one process to its end. The error is how it ended, or why it
// was not started.
func (s *Server) runProcess(ctx context.Context, first bool) (life time.Duration, err error) {
	set, err := s.settings(ctx)
	if err != nil {
		return 0, err
	}
	out := &output{log: s.opt.Log()}
	child, err := supervise.StartChild(supervise.ChildSpec{
		Path: s.path, Args: []string{"-"}, // its configuration comes on standard input
		// Nothing of ours: not a password in a variable, not systemd's socket.
		Env:   []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"},
		Stdin: set.conf(), Output: out,
	})
	if err != nil {
		return 0, fmt.Errorf("start %s: %w", s.path, err)
	}
	began := time.Now()
	s.set(status.ProcessStarting, child.PID(), func(st *status.RedisServer) {
		if !first {
			st.Restarts++
		}
	})
	err = s.watch(ctx, child, set)
	switch {
	case ctx.Err() != nil:
		s.set(status.ProcessStopped, child.PID(), nil)
		s.stop(child)
	case errors.Is(err, errChanged):
		s.opt.Log().Info().Int("pid", child.PID()).Msg("The password of the embedded Redis has changed, restarting it")
		s.stop(child)
	case err != nil:
		s.set(status.ProcessHanging, child.PID(), func(st *status.RedisServer) { st.Hangs++ })
		s.opt.Log().Error().Int("pid", child.PID()).Stringer("for", s.opt.HangTimeout).Msg("Embedded Redis does not answer, killing it")
		child.Kill()
	default:
		err = errors.New(child.Ended() + out.end)
	}
	return time.Since(began), err
}

func (s *Server) stop(child *supervise.Child) {
	if !child.Stop(stopTimeout) {
		s.opt.Log().Warn().Int("pid", child.PID()).Stringer("after", stopTimeout).Msg("Embedded Redis did not stop and was killed")
	}
}

// settings finds out what the next process is to be started with.
func (s *Server) settings(ctx context.Context) (*settings, error) {
	set := &settings{endpoint: s.endpoint, dir: s.opt.Dir, memory: s.opt.Memory, frame: s.opt.Frame}
	if os.MkdirAll(set.dir, 0o700) != nil {
		set.dir = "/" // a read-only disk: nothing is written there anyway
	}
	var err error
	if set.addrs, err = s.endpoint.addresses(ctx); err != nil {
		return nil, err
	}
	if set.password, err = s.opt.Redis.Password(); err != nil {
		return nil, err
	}
	open := slices.ContainsFunc(set.addrs, func(a netip.Addr) bool { return !a.IsLoopback() })
	if open && set.password == "" {
		return nil, fmt.Errorf("%s is for others to reach, and password_file %s is empty", s.endpoint.host, s.opt.Redis.PasswordFile)
	}
	return set, s.endpoint.free(ctx, set.addrs)
}

// watch probes the process until it or ctx has ended. The error is why the process
// is to be ended before: it does not answer, or its password has changed.
func (s *Server) watch(ctx context.Context, child *supervise.Child, set *settings) error {
	client := s.newClient(set)
	defer func() { _ = client.Close() }() // nothing is on its way
	answered, missed, up := time.Now(), 0, false
	for {
		used, err := s.probe(ctx, client)
		if err == nil {
			answered, missed = time.Now(), 0
			s.set(status.ProcessRunning, child.PID(), func(st *status.RedisServer) { st.Used = used })
			if !up {
				s.opt.Log().WithLevel(s.restarts.Level()).Int("pid", child.PID()).Str("addr", s.endpoint.String()).Int64("maxmemory", set.memory).
					Int("restarts", s.Status().Restarts).Msg("Embedded Redis started")
			}
			up = true
		} else {
			missed++
			_ = client.Close() // nothing is on its way
			client = s.newClient(set)
		}
		if missed >= misses && time.Since(answered) >= s.opt.HangTimeout {
			return fmt.Errorf("did not answer for %v and was killed", s.opt.HangTimeout)
		}
		if password, err := s.opt.Redis.Password(); err == nil && password != "" && password != set.password {
			return errChanged // not while the file is just being written, or is gone
		}
		wait := eager // also after a miss, which has taken its time already
		if up && missed == 0 {
			wait = min(time.Second, s.opt.HangTimeout/misses)
		}
		select {
		case <-time.After(wait):
		case <-child.Done():
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

// probe asks once how much memory is in use. Any answer is a sign of life, also a
// refusal, but not that a script runs: it serves nobody meanwhile, and may never
// end.
func (s *Server) probe(ctx context.Context, client *redis.Client) (used int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.opt.HangTimeout/misses)
	defer cancel()
	info, err := client.Info(ctx, "memory").Result()
	var answer redis.Error
	if errors.As(err, &answer) && !redis.HasErrorPrefix(err, "BUSY") {
		return 0, nil
	}
	return usedMemory(info), err
}

// usedMemory finds the figure in what INFO answers; 0 if it is not there.
func usedMemory(info string) int64 {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(line, "used_memory:"); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
			return n
		}
	}
	return 0
}

// newClient is one for the probes, whatever the programs use.
func (s *Server) newClient(set *settings) *redis.Client {
	network, addr := s.endpoint.dial(set.addrs)
	limit := s.opt.HangTimeout / misses
	return redisconn.NewClient(&redis.Options{
		Network: network, Addr: addr, Username: s.endpoint.user, Password: set.password, Protocol: 2, DisableIdentity: true,
		// One is used. A pool with as many failed dials as it has room for leaves a
		// goroutine behind that tries once a second.
		PoolSize: 16, MaxRetries: -1, DialerRetries: 1, DialTimeout: limit, ReadTimeout: limit, WriteTimeout: limit,
		ContextTimeoutEnabled: true, ConnMaxIdleTime: -1,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}, maxInfo)
}

// maxInfo is longer than what INFO answers.
const maxInfo = 64 << 10

// output takes what the process writes, one line at a time, and has the last one
// behind a colon. It is read once the process is gone.
type output struct {
	log *zerolog.Logger
	end string
}

func (o *output) Write(line []byte) (int, error) {
	if line := text.Printable(strings.TrimSpace(string(line)), 300); line != "" {
		if !strings.Contains(line, " # WARNING ") { // advice about the machine, given at each start: nothing ended of it
			o.end = ": " + line
		}
		o.log.Debug().Str("part", program).Msg(line)
	}
	return len(line), nil
}
