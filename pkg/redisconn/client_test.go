package redisconn

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"framekeeper/internal/testkit/redistest"
)

// copies publishes over a wire that loses the reply, and counts how often a
// subscriber hears it.
func copies(t *testing.T, server *redistest.Server, proxy *redistest.Proxy, c *redis.Client) (heard int, err error) {
	t.Helper()
	ctx := context.Background()
	direct := server.Client()
	ps := direct.Subscribe(ctx, "frames")
	defer func() { _ = ps.Close() }()
	if _, err := ps.Receive(ctx); err != nil {
		t.Fatal(err)
	}
	mustPing(t, c) // the connection is up before its reply is lost
	lost := proxy.LoseReplyAfter([]byte("publish"))
	err = c.Publish(ctx, "frames", "frame").Err()
	select {
	case <-lost:
	case <-time.After(patient):
		t.Fatal("no reply was lost")
	}
	if err := direct.Publish(ctx, "frames", "end").Err(); err != nil {
		t.Fatal(err)
	}
	for {
		m, err := ps.ReceiveMessage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if m.Payload == "end" {
			return heard, err
		}
		heard++
	}
}

// MaxRetries: -1.
func TestALostReplyIsNotSentTwice(t *testing.T) {
	needRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	proxy := redistest.NewProxy(t, server.Addr())
	if n, _ := copies(t, server, proxy, stock(t, proxy.Addr(), nil)); n != 2 {
		t.Errorf("a stock client's message was heard %d times, want 2: the failure we guard against", n)
	}
	heard, _ := copies(t, server, proxy, client(t, at(proxy.URL()), Data))
	if heard != 1 {
		t.Errorf("our message was heard %d times, want 1", heard)
	}
}

// A pub/sub that re-dials and re-subscribes by itself is alive behind the
// session's back, on a connection nobody has probed.
func TestControlDialsOnce(t *testing.T) {
	needRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	ctx := context.Background()
	resurrects := func(c *redis.Client) error {
		ps := c.Subscribe(ctx, "requests")
		defer func() { _ = ps.Close() }()
		if _, err := ps.Receive(ctx); err != nil {
			t.Fatal(err)
		}
		server.KillClients("pubsub")
		if _, err := ps.Receive(ctx); err == nil {
			t.Fatal("Receive on a killed connection returned no error")
		}
		_, err := ps.ReceiveTimeout(ctx, time.Second)
		return err
	}
	if err := resurrects(stock(t, server.Addr(), nil)); err != nil {
		t.Errorf("a stock client did not come back by itself (%v): this test shows nothing any more", err)
	}
	if err := resurrects(client(t, at(server.URL()), Control)); !errors.Is(err, errDialledOnce) {
		t.Errorf("our client's second Receive returned %v, want %v", err, errDialledOnce)
	}
	if n := server.KillClients("pubsub"); n != 0 {
		t.Errorf("%d subscriptions are left, want none", n)
	}
}

// DialerRetries: 1, and no dial timeout longer than the configured one.
func TestADeadServerIsNoticedAfterOneDial(t *testing.T) {
	t.Parallel()
	addr := blackHole(t)
	cfg := at("redis://" + addr + "/0")
	cfg.DialTimeout, cfg.IOTimeout = 200*time.Millisecond, 200*time.Millisecond
	ctx := context.Background()
	took := func(dial func() error) time.Duration {
		began := time.Now()
		if err := dial(); err == nil {
			t.Error("a black hole answered")
		}
		return time.Since(began)
	}
	theirs := stock(t, addr, func(o *redis.Options) { o.DialTimeout, o.MaxRetries = cfg.DialTimeout, -1 })
	if d := took(func() error { return theirs.Ping(ctx).Err() }); d < 4*cfg.DialTimeout {
		t.Errorf("a stock client gave up after %s: this test shows nothing any more", d)
	}
	data, control := client(t, cfg, Data), client(t, cfg, Control).Subscribe(ctx)
	defer func() { _ = control.Close() }()
	for name, dial := range map[string]func() error{
		"data":    func() error { return data.Ping(ctx).Err() },
		"control": func() error { return control.Subscribe(ctx, "requests") },
	} {
		if d := took(dial); d > 7*cfg.DialTimeout/2 {
			t.Errorf("our %s client gave up after %s, want about %s", name, d, cfg.DialTimeout)
		}
	}
}

// Protocol 2, DisableIdentity, no maintenance notifications: a fresh connection
// says HELLO and does its work.
func TestAFreshClientSaysNothingNeedless(t *testing.T) {
	needRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	ctx := context.Background()
	// Redis counts what it does not know as errors, not as commands.
	commands := func(c *redis.Client) (names string, errs int) {
		server.Do("CONFIG", "RESETSTAT")
		mustPing(t, c)
		ps := c.Subscribe(ctx, "requests")
		defer func() { _ = ps.Close() }()
		if _, err := ps.Receive(ctx); err != nil {
			t.Fatal(err)
		}
		for _, f := range server.Clients("pubsub") {
			if f["resp"] != "2" && c.Options().Protocol == 2 {
				t.Errorf("the subscription speaks RESP %s, want 2", f["resp"])
			}
		}
		var said []string
		for name := range server.Info("commandstats") {
			said = append(said, strings.TrimPrefix(name, "cmdstat_"))
		}
		return " " + strings.Join(said, " ") + " ", len(server.Info("errorstats"))
	}
	if got, errs := commands(stock(t, server.Addr(), nil)); errs == 0 && !strings.Contains(got, " client|setinfo ") {
		t.Errorf("a stock client sent only %s without errors: this test shows nothing any more", got)
	}
	got, errs := commands(client(t, at(server.URL()), Data))
	contains(t, got, " hello ", " ping ", " subscribe ")
	for _, needless := range []string{"client|setinfo", "client|maint_notifications", "client|tracking", "select", "client|setname", "auth"} {
		if strings.Contains(got, " "+needless+" ") {
			t.Errorf("a fresh client sent %s; all: %s", needless, got)
		}
	}
	if errs != 0 {
		t.Errorf("a fresh client provoked errors: %v", server.Info("errorstats"))
	}
}

// ContextTimeoutEnabled: a context's deadline ends a command that is on its way.
func TestAContextEndsAReadingCommand(t *testing.T) {
	needRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	cfg := at(server.URL())
	cfg.IOTimeout = patient
	c := client(t, cfg, Data)
	mustPing(t, c)
	server.Freeze()
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	began := time.Now()
	err := c.Ping(ctx).Err()
	if took := time.Since(began); err == nil || took > patient/4 {
		t.Errorf("ping of a frozen server returned %v after %s, want an error after 200ms", err, took)
	}
}

// Every consumer, appender and publisher keeps a connection of its own for the
// whole session. The pool must never be what a probe waits for.
func TestThePoolOutlastsManyHolders(t *testing.T) {
	needRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	c := client(t, at(server.URL()), Data)
	ctx := context.Background()
	for range 40 {
		held := c.Conn()
		defer func() { _ = held.Close() }()
		if err := held.Ping(ctx).Err(); err != nil {
			t.Fatalf("a holder got no connection: %v", err)
		}
	}
	began := time.Now()
	if err := c.Publish(ctx, "probe", "1").Err(); err != nil {
		t.Errorf("with 40 connections held a probe cannot be published: %v (after %s)", err, time.Since(began))
	}
}
