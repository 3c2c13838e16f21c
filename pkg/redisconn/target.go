// Package redisconn turns the [redis] table into connections. It promises that
// no connection can be silent for longer than its timeouts without an error, and
// that no client it hands out retries, reconnects or re-subscribes behind its
// owner's back: that is the session's business, in package datatransfer. One thing
// is no failure and is mended here: a data connection that was ended because nobody
// used it. It also decides what an error means to an operator.
//
// Why go-redis is used against its defaults: its health check never waits for
// the PONG, a retried PUBLISH whose reply was lost would be sent twice, a PubSub
// that dials again would re-subscribe behind the session's back, and a pool that
// met a dead server tries again only once a second. Its one deadline per reply
// would cut a large frame on a slow line; here a deadline begins anew with every
// byte that arrives and every 64 KiB that leave. Keepalive and TCP_USER_TIMEOUT
// are the second line of defence.
package redisconn

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"framekeeper/internal/files"
)

// Target is the way to one Redis node for the length of one session: secrets
// read, master found, connections counted. Close ends all of them at once.
type Target struct {
	cfg      Config
	network  string
	addr     string
	db       int
	username string
	password string
	tls      *tls.Config
	meter    *meter
	limits   Limits
	last     lastReply // on the connections that are not the subscription's
	control  lastReply
}

// Open finds out where to connect: it reads the password and TLS files and
// asks the Sentinels. It does not connect to the node itself.
func Open(ctx context.Context, cfg Config) (*Target, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil {
		return nil, errors.New("redis.url is unreadable")
	}
	t := &Target{cfg: cfg, meter: newMeter(), username: cfg.Username}
	if t.username == "" {
		t.username = u.User.Username()
	}
	if t.password, err = readPassword(cfg.PasswordFile); err != nil {
		return nil, err
	}
	switch u.Scheme {
	case "unix":
		t.network, t.addr = "unix", u.Path
	case "rediss":
		if t.tls, err = tlsConfig(cfg, u.Hostname()); err != nil {
			return nil, err
		}
		fallthrough
	default:
		t.network, t.addr = "tcp", net.JoinHostPort(u.Hostname(), portOr(u.Port(), "6379"))
		if n, err := strconv.Atoi(strings.Trim(u.Path, "/")); err == nil {
			t.db = n
		}
	}
	if cfg.SentinelName != "" {
		defer context.AfterFunc(ctx, t.Close)() // a read in progress does not look at ctx
		if t.addr, err = t.askSentinels(ctx); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func portOr(port, other string) string {
	if port == "" {
		return other
	}
	return port
}

// readPassword is called for every session, so that a rotated password heals
// by itself.
func readPassword(file string) (string, error) {
	if file == "" {
		return "", nil
	}
	b, err := files.ReadSmall(file)
	if err != nil {
		return "", &ConfigError{fmt.Errorf("read password_file: %w", err)}
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}

// Addr is where the target connects to, without credentials.
func (t *Target) Addr() string { return t.addr }

// Local is this machine's own IP address on the way there; "" while there is no
// connection, and over a unix socket.
func (t *Target) Local() string { return t.meter.local() }

// Limits bound what a server may send, and are called with what it refuses.
type Limits struct {
	// Message and Reply are how many bytes the longest value has that comes whole from a
	// subscription and as the answer to a command. A longer one comes as an empty
	// one, and costs no memory: what others write into Redis. 0: any.
	Message, Reply int64
	// TooLarge, if set, is called with the length of each of these, by whoever reads.
	TooLarge func(size, limit int64)
	// Denied, if set, is called with each command that the user may not send, as an
	// ACL rule names it.
	Denied func(command string, err error)
}

// of is how many bytes the longest value has on connections of a role.
func (l *Limits) of(role Role) int64 {
	if role == Control {
		return l.Message
	}
	return l.Reply
}

// Limit bounds what comes on connections that are made later.
func (t *Target) Limit(l Limits) { t.limits = l }

// Guarded calls f, which uses a client of the target without sending commands: a
// PubSub's Subscribe and Receive. A panic of the library on what the server has
// sent is then an error with CauseProtocol, as that of every command is.
func (t *Target) Guarded(role Role, f func() error) error { return t.lastReply(role).guarded(f) }

func (t *Target) lastReply(role Role) *lastReply {
	if role == Control {
		return &t.control
	}
	return &t.last
}

// Activity is what the target's connections have shown of themselves.
func (t *Target) Activity() Activity { return t.meter.activity() }

// Acked is how many of our bytes the far kernel has, on all connections that
// are open; it does not change what Activity calls moving.
func (t *Target) Acked() uint64 { return t.meter.acked() }

// BytesIn and BytesOut count what passed through all connections.
func (t *Target) BytesIn() uint64 {
	return t.meter.bytesIn[Control].Load() + t.meter.bytesIn[Data].Load()
}

// BytesOut is documented at BytesIn.
func (t *Target) BytesOut() uint64 { return t.meter.written.Load() }

// Connected reports whether the subscription's connection was accepted.
func (t *Target) Connected() bool { return t.meter.dials.Load() > 0 }

// Close ends every connection of the target, also those in use, and refuses
// new ones. Clients made from it are to be closed by their owners.
func (t *Target) Close() { t.meter.closeAll() }

// Role is what a client is for.
type Role int

// The roles of a client.
const (
	// Control holds the subscriptions. It may dial once: go-redis's PubSub
	// would otherwise reconnect by itself and bypass the session.
	Control Role = iota
	// Data publishes, adds and reads.
	Data
)

// Client makes a client of the target. A data client whose connections are ended while
// nobody uses them makes new ones without an error.
func (t *Target) Client(role Role) *redis.Client {
	c := t.client(role, t.limits.of(role), role == Data)
	if role == Data {
		c.AddHook(redialler{c})
	}
	return c
}

// AskAfter asks on the connections of data clients whose command has waited for an
// answer for so long, whether it still comes: see questioned. A reader whose answer is
// lost gets an error with CauseProtocol soon after. Redis must permit ECHO.
func (t *Target) AskAfter(waited time.Duration) { t.meter.ask(waited) }

// Limited makes a client on which values of more than longest bytes, and those of a
// megabyte that stand where no image or message does, come as empty
// ones, whatever Limit was called with, and whose connections end with an error
// whenever they do. They may have subscriptions.
func (t *Target) Limited(role Role, longest int64) *redis.Client {
	return t.client(role, longest, false)
}

// client makes a client. Every setting away from go-redis's defaults answers a failure
// that was measured.
func (t *Target) client(role Role, longest int64, asked bool) *redis.Client {
	o := &redis.Options{
		Network:  t.network,
		Addr:     t.addr,
		Username: t.username,
		Password: t.password,
		DB:       t.db,
		Dialer:   t.dialer(role, longest, t.dialTimeout(role), asked),

		// A PUBLISH whose reply is lost would be sent again: two copies, no error.
		MaxRetries: -1,
		// Five dials inside one call hide a dead server for their sum.
		DialerRetries: 1,
		DialTimeout:   t.dialTimeout(role),
		// Measured per silence, not per operation: see conn.
		ReadTimeout:  t.cfg.IOTimeout,
		WriteTimeout: t.cfg.IOTimeout,
		// Without it a context's deadline is ignored once a command is on its way.
		ContextTimeoutEnabled: true,
		// RESP3 push handling lost or hung messages in several releases.
		Protocol:        2,
		DisableIdentity: true, // CLIENT SETINFO: two commands nobody needs, refused by tight ACLs
		MaintNotificationsConfig: &maintnotifications.Config{
			Mode: maintnotifications.ModeDisabled,
		},
		// Each worker that keeps the order of its commands holds a connection
		// for the whole session. A probe that waits for one to become free
		// looks like a dead server.
		PoolSize:        poolSize,
		ConnMaxIdleTime: -1, // an idle connection is as good as its session
		PoolTimeout:     t.cfg.IOTimeout,
	}
	if role == Control {
		o.PoolSize = 1
		// What is read before the first Receive is the greeting: short, so
		// that a frozen server is not waited for longer than for a probe.
		o.ReadTimeout = t.cfg.CheckTimeout
		o.Dialer = once(o.Dialer)
	}
	c := redis.NewClient(o)
	c.AddHook(catcher{t.lastReply(role)})
	if t.limits.Denied != nil {
		c.AddHook(denials(t.limits.Denied))
	}
	return c
}

// poolSize bounds a data client's connections. They are made when needed: an
// agent uses four or five, a client one or two for each camera.
const poolSize = 256

type dialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

var errDialledOnce = errors.New("session is over: no second connection")

func once(dial dialFunc) dialFunc {
	used := make(chan struct{}, 1)
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		select {
		case used <- struct{}{}:
			return dial(ctx, network, addr)
		default:
			return nil, errDialledOnce
		}
	}
}

// dialTimeout is short for the connection that begins a session. Once there is
// one, the probe judges silence: a further connection that is slow to come, on a
// line that large frames fill, must not end a healthy session.
func (t *Target) dialTimeout(role Role) time.Duration {
	if role == Data {
		return max(t.cfg.DialTimeout, t.cfg.IOTimeout)
	}
	return t.cfg.DialTimeout
}

func (t *Target) dialer(role Role, longest int64, timeout time.Duration, asked bool) dialFunc {
	return guardedDialer(func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, under, err := t.dial(ctx, role, timeout, network, addr)
		if err != nil || !asked {
			return c, err
		}
		q := &questioned{Conn: c, under: under}
		under.questioned.Store(q)
		return q, nil
	}, role, t.lastReply(role), longest, t.limits.TooLarge)
}

// dial connects, tunes, counts, and wraps in TLS where asked. Counting happens
// below TLS, so that a handshake that stalls is seen too.
func (t *Target) dial(ctx context.Context, role Role, timeout time.Duration, network, addr string) (net.Conn, *conn, error) {
	d := net.Dialer{
		Timeout: timeout, // name resolution included
		KeepAliveConfig: net.KeepAliveConfig{
			Enable: true, Idle: time.Second, Interval: time.Second, Count: 2,
		},
		Control: tune(t.cfg.IOTimeout),
	}
	raw, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, nil, &DialError{err}
	}
	c := &conn{Conn: raw, meter: t.meter, role: role, usual: t.cfg.IOTimeout}
	if !t.meter.add(c) {
		_ = raw.Close()
		return nil, nil, net.ErrClosed
	}
	if t.tls == nil {
		return c, c, nil
	}
	ctx, cancel := context.WithTimeout(ctx, timeout+t.cfg.CheckTimeout)
	defer cancel()
	secure, err := handshake(ctx, c, t.tls)
	if err != nil {
		_ = c.Close()
		return nil, nil, err
	}
	return secure, c, nil
}

// Quiet ends go-redis's own log lines: each of its troubles reaches us as an
// error, which is logged once and counted. Only main may call it, before the
// first client is made: the logger is the library's global.
func Quiet() { redis.SetLogger(noLog{}) }

type noLog struct{}

func (noLog) Printf(context.Context, string, ...any) {}
