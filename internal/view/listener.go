package view

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/redis/go-redis/v9"

	"framekeeper/pkg/datatransfer"
)

// listener receives messages on a connection of its own, which ends with the session.
// Channels can be added.
type listener struct {
	s       *datatransfer.Session
	client  *redis.Client
	ps      *redis.PubSub
	release func() bool
	ended   chan error // why it receives no more
	running sync.WaitGroup
}

// newListener calls handle with each message of at most longest bytes, and refused with
// what Redis answers with an error; an error of refused ends it.
func newListener(ctx context.Context, s *datatransfer.Session, longest int64, refused func(error) error, handle func(*redis.Message)) *listener {
	l := &listener{s: s, client: s.Client(longest), ended: make(chan error, 1)}
	l.ps = l.client.Subscribe(ctx)                   // no channel yet: nothing is sent
	l.release = context.AfterFunc(ctx, l.disconnect) // a read in progress does not look at ctx
	l.running.Go(func() { l.ended <- s.Guarded(func() error { return l.receive(ctx, refused, handle) }) })
	return l
}

func (l *listener) receive(ctx context.Context, refused func(error) error, handle func(*redis.Message)) error {
	for {
		m, err := l.ps.Receive(ctx)
		var answer redis.Error
		switch {
		case errors.As(err, &answer):
			if err := refused(err); err != nil {
				return err
			}
		case err != nil:
			return fmt.Errorf("receive: %w", err)
		}
		if m, ok := m.(*redis.Message); ok {
			handle(m)
		}
	}
}

// subscribe adds channels.
func (l *listener) subscribe(ctx context.Context, channels []string) error {
	if len(channels) == 0 {
		return nil
	}
	if err := l.s.Guarded(func() error { return l.ps.Subscribe(ctx, channels...) }); err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	return nil
}

// follow adds all channels of a pattern.
func (l *listener) follow(ctx context.Context, pattern string) error {
	if err := l.s.Guarded(func() error { return l.ps.PSubscribe(ctx, pattern) }); err != nil {
		return fmt.Errorf("subscribe to %s: %w", pattern, err)
	}
	return nil
}

// failed is why it receives no more; nil while it does.
func (l *listener) failed() error {
	select {
	case err := <-l.ended:
		return err
	default:
		return nil
	}
}

func (l *listener) disconnect() { _, _ = l.ps.Close(), l.client.Close() }

// close ends it and waits until it has ended.
func (l *listener) close() {
	l.release()
	l.disconnect()
	l.running.Wait()
}
