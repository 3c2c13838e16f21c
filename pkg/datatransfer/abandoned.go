package datatransfer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"framekeeper/pkg/redisconn"
)

// A session ends when everything in it has returned. What hangs outside of
// Redis (a disk that does not answer) must not keep the link from the next one.
const (
	abandonAfter = time.Second      // a worker is then abandoned, and not run again before it returns
	stuckAfter   = 10 * time.Second // what receives cannot be abandoned: then only a fresh process helps
	openWithin   = 5 * time.Second  // for the files a session reads
)

// ErrStuck ends a link whose receiving goroutine does not return: a Handle
// blocks. A fresh process may help.
var ErrStuck = errors.New("a part of the link does not return")

// slot is held by one worker, or Admit, while it runs: once at a time, across
// sessions.
type slot chan struct{}

// work runs one thing in its slot while the session lasts. One that an earlier
// session abandoned is waited for.
func (l *Link) work(s *Session, at slot, f func(ctx context.Context, s *Session) error) error {
	select {
	case at <- struct{}{}:
	case <-s.ctx.Done():
		return context.Cause(s.ctx)
	}
	defer func() { <-at }()
	return f(s.ctx, s)
}

// join waits for everything a session started, as long as is good for the link.
func (l *Link) join(s *Session) error {
	s.workers.join(abandonAfter, l.abandon)
	err := error(nil)
	s.core.join(stuckAfter, func(left []string) {
		err = &FatalError{fmt.Errorf("%w: %s", ErrStuck, strings.Join(left, ", "))}
	})
	return err
}

// abandon notes the workers that do not return though their session is over.
func (l *Link) abandon(left []string) {
	l.cfg.Log.Error().Strs("parts", left).Str("advice", "check whether a disk hangs").
		Msg("Parts of the program do not return and are abandoned until they do")
	l.update(func(st *LinkStatus) { st.Stuck = append(slices.Clone(st.Stuck), left...) })
}

// returned is called when an abandoned part has returned.
func (l *Link) returned(name string) {
	l.update(func(st *LinkStatus) {
		if i := slices.Index(st.Stuck, name); i >= 0 {
			st.Stuck = slices.Delete(slices.Clone(st.Stuck), i, i+1)
		}
	})
	l.cfg.Log.Info().Str("part", name).Msg("An abandoned part of the program has returned")
}

// opened is what redisconn.Open has returned for one session.
type opened struct {
	target *redisconn.Target
	err    error
	ctx    context.Context //nolint:containedctx // distinguishes sessions
}

// open is redisconn.Open, but ends with ctx, and in any case in time: reading a
// file cannot be cancelled. One that hangs is waited for by the sessions that
// follow, so that there is never more than one.
func (l *Link) open(ctx context.Context) (*redisconn.Target, error) {
	limit := openWithin + time.Duration(len(l.cfg.Redis.Sentinels))*(l.cfg.Redis.DialTimeout+l.cfg.Redis.CheckTimeout)
	timer := time.NewTimer(limit)
	defer timer.Stop()
	over := ctx.Done()
	for {
		if l.opening == nil {
			result := make(chan opened, 1)
			l.opening = result
			go func() {
				target, err := redisconn.Open(ctx, l.cfg.Redis)
				result <- opened{target, err, ctx}
			}()
		}
		select {
		case r := <-l.opening:
			if l.opening = nil; r.ctx == ctx {
				return r.target, r.err
			}
		case <-over:
			over = nil
			timer.Reset(abandonAfter) // asking a Sentinel ends with ctx
		case <-timer.C:
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			return nil, &redisconn.ConfigError{Err: fmt.Errorf(
				"read password_file and certificates: not done within %s, is their disk hanging?", limit)}
		}
	}
}
