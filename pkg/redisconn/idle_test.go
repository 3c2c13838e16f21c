package redisconn

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"framekeeper/internal/testkit/redistest"
)

// awaitIdledOut waits until the server has ended all of its clients' connections.
func awaitIdledOut(t *testing.T, server *redistest.Server) {
	t.Helper()
	time.Sleep(idleAfter + 100*time.Millisecond)
	eventually(t, "the server has ended all connections", func() bool { return len(server.Clients("normal")) == 0 })
}

// mustTransact runs a transaction and a pipeline, which must bring what they ask for.
func mustTransact(t *testing.T, c interface {
	TxPipelined(ctx context.Context, fn func(redis.Pipeliner) error) ([]redis.Cmder, error)
	Pipelined(ctx context.Context, fn func(redis.Pipeliner) error) ([]redis.Cmder, error)
}, between func(), n string) {
	t.Helper()
	var get *redis.StringCmd
	cmds, err := c.TxPipelined(t.Context(), func(p redis.Pipeliner) error {
		p.Set(t.Context(), "key", n, 0)
		get = p.Get(t.Context(), "key")
		return nil
	})
	if err != nil || get.Val() != n || get.Err() != nil || len(cmds) == 0 || cmds[0].Err() != nil {
		t.Errorf("the transaction brought %q, %v, want %s", get.Val(), err, n)
	}
	between()
	var none *redis.StringCmd
	_, err = c.Pipelined(t.Context(), func(p redis.Pipeliner) error {
		get = p.Get(t.Context(), "key")
		none = p.Get(t.Context(), "no such key")
		return nil
	})
	if !errors.Is(err, redis.Nil) || get.Val() != n || !errors.Is(none.Err(), redis.Nil) {
		t.Errorf("the pipeline brought %q and %v, %v, want %s and %v", get.Val(), none.Err(), err, n, redis.Nil)
	}
}

// What the server ends because nobody uses it is made anew, without an error, for the
// client's own commands and for those of a single connection.
func TestIdleConnectionsAreMadeAnew(t *testing.T) {
	needRedis(t)
	t.Parallel()
	for name, opt := range map[string]redistest.Option{
		"plain": redistest.WithPassword("secret"), "tls": redistest.WithTLS(), "unix": redistest.WithUnixSocket(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, opt, redistest.WithConfig("timeout", "1"))
			cfg := at(server.URL())
			cfg.PasswordFile = server.PasswordFile()
			if files := server.TLS(); files != nil {
				cfg.TLSCAFile = files.CA
			}
			c := clientOf(t, mustOpen(t, cfg), Data)
			conn := c.Conn()
			defer func() { _ = conn.Close() }()
			var busy sync.WaitGroup
			for range 5 { // connections in the pool, all of which are ended
				busy.Go(func() { _ = c.BLPop(t.Context(), 500*time.Millisecond, "nothing").Err() })
			}
			busy.Wait()
			for n := range 2 {
				awaitIdledOut(t, server)
				if got, err := conn.Incr(t.Context(), "n").Result(); err != nil || got != int64(2*n+1) {
					t.Errorf("%d, %v from the connection, want %d", got, err, 2*n+1)
				}
				awaitIdledOut(t, server)
				if got, err := c.Incr(t.Context(), "n").Result(); err != nil || got != int64(2*n+2) {
					t.Errorf("%d, %v from the client, want %d", got, err, 2*n+2)
				}
			}
			awaitIdledOut(t, server)
			mustTransact(t, conn, func() { awaitIdledOut(t, server) }, "1")
			awaitIdledOut(t, server)
			mustTransact(t, c, func() { awaitIdledOut(t, server) }, "2")
		})
	}
}

// A connection that ends while a command is under way is an error: nobody knows
// whether it was carried out. So is one that ended just now, or of a limited client.
func TestOtherEndsOfAConnectionAreErrors(t *testing.T) {
	needRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	proxy := redistest.NewProxy(t, server.Addr())
	target := mustOpen(t, at(proxy.URL()))
	c := clientOf(t, target, Data)
	limited := target.Limited(Data, 0)
	defer func() { _ = limited.Close() }()
	for name, hurt := range map[string]func() error{
		"during a command": func() error {
			mustPing(t, c)
			time.Sleep(idleAfter + 100*time.Millisecond)
			proxy.CutAfter(redistest.ToServer, 1<<20)
			return c.Set(t.Context(), "key", make([]byte, 2<<20), 0).Err()
		},
		"its reply is lost": func() error {
			mustPing(t, c)
			time.Sleep(idleAfter + 100*time.Millisecond)
			proxy.CutAfter(redistest.ToClient, 1)
			return c.Incr(t.Context(), "n").Err()
		},
		"just now": func() error {
			mustPing(t, c)
			server.KillClients("normal")
			return c.Ping(t.Context()).Err()
		},
		"of a limited client": func() error {
			mustPing(t, limited)
			time.Sleep(idleAfter + 100*time.Millisecond)
			server.KillClients("normal")
			return limited.Ping(t.Context()).Err()
		},
	} {
		t.Run(name, func(t *testing.T) {
			err := hurt()
			if CauseOf(err) != CauseClosed {
				t.Errorf("got %v (%s), want that the connection was closed", err, CauseOf(err))
			}
		})
	}
	if n, err := server.Client().Get(t.Context(), "n").Result(); n != strconv.Itoa(1) {
		t.Errorf("what was sent once was carried out %s times (%v)", n, err)
	}
}
