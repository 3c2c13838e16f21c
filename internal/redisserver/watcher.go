package redisserver

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"framekeeper/internal/supervise"
)

// looks is how many times in a row the server must fail to answer, each time
// for a part of HangTimeout. One failure alone proves nothing: it may be we who
// stood still.
const looks = 4

// eager is how often a server that is just coming up is looked at.
const eager = 20 * time.Millisecond

// watcher looks whether one process answers, and tells it what has changed.
type watcher struct {
	*Server
	told   *settings // what the server knows
	client *redis.Client
	child  *supervise.Child

	up      bool      // it has answered
	heard   time.Time // when it last did, or was started
	misses  int       // looks since then
	refused bool      // it did not take over a change, and that was logged
}

// run watches until the process or ctx has ended, or the process has been
// silent for too long.
func (w *watcher) run(ctx context.Context) (silent bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watched := make(chan struct{})
	defer func() { cancel(); <-watched; _ = w.client.Close() }()
	go func() { // ends a look in progress with the process
		defer close(watched)
		select {
		case <-w.child.Done():
			cancel()
		case <-ctx.Done():
		}
	}()
	w.heard = time.Now()
	for {
		w.look(ctx)
		if w.misses >= looks && time.Since(w.heard) >= w.opt.HangTimeout {
			return true
		}
		timer := time.NewTimer(w.pause())
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return false
		}
	}
}

// pause is short while the server is coming up, or may hang: a look that was not
// answered has taken its time already.
func (w *watcher) pause() time.Duration {
	if !w.up || w.misses > 0 {
		return eager
	}
	return min(time.Second, w.opt.HangTimeout/looks)
}

// look asks once. Any answer is a sign of life, also a refusal, but not that a
// script runs: it serves nobody meanwhile, and may never end.
func (w *watcher) look(ctx context.Context) {
	limit, cancel := context.WithTimeout(ctx, w.opt.HangTimeout/looks)
	defer cancel()
	err := w.client.Ping(limit).Err()
	var answer redis.Error
	switch {
	case ctx.Err() != nil:
	case redis.HasErrorPrefix(err, "BUSY"):
		w.misses++
	case err == nil, errors.As(err, &answer):
		w.answered(ctx)
	default:
		w.misses++
		_ = w.client.Close() // nothing is on its way
		w.client = w.newClient(w.told)
	}
}

func (w *watcher) answered(ctx context.Context) {
	w.misses, w.heard = 0, time.Now()
	if !w.up {
		w.up = true
		w.set(Running, w.child.PID())
		w.opt.Log().WithLevel(w.restarts.Level()).Int("pid", w.child.PID()).Str("addr", w.place.String()).Int64("maxmemory", w.told.memory).
			Int("restarts", w.Status().Restarts).Msg("Embedded Redis runs")
	}
	w.rotate(ctx)
	w.resize(ctx)
	w.weigh(ctx)
}

// rotate makes the server take a password that has changed in its file. Those
// connected stay so, as with any Redis; others get in with the new one only.
func (w *watcher) rotate(ctx context.Context) {
	password, err := w.opt.Redis.Password()
	if err != nil || password == w.told.password || password == "" {
		return // a file that is just being written, or is gone: the old one stays
	}
	if w.tell(ctx, "ACL", "SETUSER", w.place.userName(), "resetpass", "#"+hashed(password)) {
		w.told.password = password
		w.opt.Log().Info().Msg("Embedded Redis has taken over the changed password")
	}
}

func (w *watcher) resize(ctx context.Context) {
	memory := w.Status().Memory
	if memory != w.told.memory && w.tell(ctx, "CONFIG", "SET", "maxmemory", memory) {
		w.told.memory = memory
		w.opt.Log().Info().Int64("maxmemory", memory).Msg("Embedded Redis has taken over its new size")
	}
}

// tell runs a command, and logs once that commands are refused.
func (w *watcher) tell(ctx context.Context, command ...any) bool {
	limit, cancel := context.WithTimeout(ctx, w.opt.HangTimeout/looks)
	defer cancel()
	err := w.client.Do(limit, command...).Err()
	if err != nil && ctx.Err() == nil && !w.refused {
		w.opt.Log().Warn().Err(err).Msg("Embedded Redis does not take over what has changed")
	}
	w.refused = err != nil
	return err == nil
}

// weigh notes how much memory the server has in use.
func (w *watcher) weigh(ctx context.Context) {
	limit, cancel := context.WithTimeout(ctx, w.opt.HangTimeout/looks)
	defer cancel()
	text, err := w.client.Info(limit, "memory").Result()
	if err != nil {
		return // the next look tells why
	}
	used, ok := usedMemory(text)
	if !ok {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.status.Used = used
}

// usedMemory finds the figure in what INFO answers.
func usedMemory(info string) (int64, bool) {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(line, "used_memory:"); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}
