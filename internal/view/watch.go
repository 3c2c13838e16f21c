package view

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"framekeeper/internal/async"
	"framekeeper/internal/status"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/datatransfer"
)

const (
	// lookInterval is the pause between two looks at which cameras there are.
	lookInterval = 5 * time.Second
	// silent is how long an agent may be unheard until its status is read: it publishes
	// one every 5 s by default.
	silent = 8 * time.Second
	// scanCount is how many keys Redis looks at in one step.
	scanCount = 1000
	// maxSteps bounds the steps of one look: 10 million keys.
	maxSteps = 10000
	// batch is how many statuses are read in one round trip.
	batch = 100
)

const (
	discovery = "Discovery of cameras"
	updates   = "Updates as they come"
	samples   = "Figures of the boxes"
)

// watch finds the cameras and follows their statuses for as long as the session lasts.
func (f *fleet) watch(ctx context.Context, s *datatransfer.Session) error {
	var deaf atomic.Bool // Redis refuses the subscription
	l := newListener(ctx, s, maxStatus, func(err error) error {
		deaf.Store(true)
		f.switchOff(updates, "Redis does not permit it ("+err.Error()+"); the states are read every "+lookInterval.String())
		return nil
	}, func(m *redis.Message) {
		if name, ok := strings.CutPrefix(m.Channel, "status/"); ok {
			f.published(name, []byte(m.Payload), time.Now())
		}
	})
	defer l.close()
	f.switchOff(updates, "")
	heard := map[string]bool{} // what is subscribed to
	for patience := time.Duration(0); ; patience = silent {
		began := time.Now()
		if err := f.discover(ctx, s.Data()); err != nil {
			return err
		}
		if deaf.Load() {
			patience = 0
		}
		if err := f.readDue(ctx, s.Data(), f.due(patience, began)); err != nil {
			return err
		}
		var channels []string
		for _, name := range f.names() {
			if !heard[name] {
				heard[name] = true
				channels = append(channels, "status/"+name)
			}
		}
		if err := l.subscribe(ctx, channels); err != nil {
			return err
		}
		// A Redis with very many keys is not asked all the time.
		if !async.Pause(ctx, max(lookInterval, 10*time.Since(began))) {
			return nil
		}
		if err := l.failed(); err != nil {
			return err
		}
	}
}

// discover adds the cameras that have a status.
func (f *fleet) discover(ctx context.Context, c redis.Cmdable) error {
	if f.only != nil {
		return nil
	}
	for cursor, step := uint64(0), 0; step < maxSteps; step++ {
		keys, next, err := c.Scan(ctx, cursor, "status:*", scanCount).Result()
		var answer redis.Error
		switch {
		case errors.As(err, &answer):
			f.switchOff(discovery, "Redis does not permit it ("+err.Error()+"); shown are the cameras that --camera or the configuration names")
			f.add(f.configuredNames())
			return nil
		case err != nil:
			return fmt.Errorf("look for cameras: %w", err)
		}
		f.add(keys)
		if cursor = next; cursor == 0 {
			break
		}
	}
	f.switchOff(discovery, "")
	return nil
}

func (f *fleet) configuredNames() (keys []string) {
	for name := range f.configured {
		keys = append(keys, "status:"+name)
	}
	return keys
}

// add notes cameras by their keys. Nothing is known of them yet.
func (f *fleet) add(keys []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, key := range keys {
		name := strings.TrimPrefix(key, "status:")
		if camera.ValidName(name) && f.cameras[name] == nil {
			f.take(name, status.Observation{Missing: status.Reason{Code: status.NotRead}}, time.Time{})
		}
	}
}

// readDue reads the statuses of these cameras.
func (f *fleet) readDue(ctx context.Context, c redis.Cmdable, names []string) error {
	for names := range slices.Chunk(names, batch) {
		replies := make([]*redis.StringCmd, len(names))
		_, _ = c.Pipelined(ctx, func(p redis.Pipeliner) error { // each reply has its own error
			for i, name := range names {
				replies[i] = p.Get(ctx, "status:"+name)
			}
			return nil
		})
		for i, name := range names {
			text, err := replies[i].Bytes()
			var answer redis.Error
			switch {
			case err == nil:
				f.read(name, status.Observe(text), time.Now())
			case errors.Is(err, redis.Nil):
				f.read(name, absent(), time.Now())
			case errors.As(err, &answer):
				f.read(name, status.Observation{Missing: status.Reason{Code: status.NotPermitted, Detail: "status:" + name}}, time.Now())
			default:
				return fmt.Errorf("read status:%s: %w", name, err)
			}
		}
	}
	return nil
}

// listen follows the telemetry of all boxes for as long as the session lasts.
func (f *fleet) listen(ctx context.Context, s *datatransfer.Session) error {
	f.switchOff(samples, "")
	l := newListener(ctx, s, maxStatus, func(err error) error {
		f.switchOff(samples, "Redis does not permit it ("+err.Error()+")")
		return nil
	}, func(m *redis.Message) { f.sampled(m.Channel, []byte(m.Payload), time.Now()) })
	defer l.close()
	if err := l.follow(ctx, "*_log"); err != nil {
		return err
	}
	select {
	case err := <-l.ended:
		return err
	case <-ctx.Done():
		return nil
	}
}
