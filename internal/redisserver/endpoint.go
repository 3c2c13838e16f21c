package redisserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"framekeeper/pkg/redisconn"
)

// endpoint is where the server is to be found: at a socket's path, or at a port of
// a host.
type endpoint struct {
	socket   string // "": TCP
	host     string
	port     string
	database int
	user     string // "": the default user
}

func endpointOf(cfg *redisconn.Config) (endpoint, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil {
		return endpoint{}, errors.New("redis.url is unreadable")
	}
	e := endpoint{user: cfg.Username}
	if e.user == "" {
		e.user = u.User.Username()
	}
	if u.Scheme == "unix" {
		e.socket = u.Path
		return e, nil
	}
	e.host, e.port = u.Hostname(), u.Port()
	if e.port == "" {
		e.port = "6379"
	}
	if n, err := strconv.Atoi(strings.Trim(u.Path, "/")); err == nil {
		e.database = n
	}
	return e, nil
}

func (e *endpoint) String() string {
	if e.socket != "" {
		return e.socket
	}
	return net.JoinHostPort(e.host, e.port)
}

// dial is how the server itself is reached, whatever the clients do.
func (e *endpoint) dial(addrs []netip.Addr) (network, addr string) {
	if e.socket != "" {
		return "unix", e.socket
	}
	return "tcp", net.JoinHostPort(addrs[0].String(), e.port)
}

// errNotOurs means that the host in url is another machine.
var errNotOurs = errors.New("not an address of this box")

// addresses finds what the host's name means here. None, without an error, is a
// unix socket's.
func (e *endpoint) addresses(ctx context.Context) ([]netip.Addr, error) {
	if e.socket != "" {
		return nil, nil
	}
	found, err := resolve(ctx, e.host)
	if err != nil {
		return nil, err
	}
	own, err := ownAddresses()
	if err != nil {
		return nil, err
	}
	found = slices.DeleteFunc(found, func(a netip.Addr) bool { return !a.IsLoopback() && !slices.Contains(own, a) })
	if len(found) == 0 {
		return nil, fmt.Errorf("%s is %w", e.host, errNotOurs)
	}
	return found, nil
}

func resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, fmt.Errorf("find host %s: %w", host, err)
	}
	for i := range found {
		found[i] = found[i].Unmap()
	}
	return found, nil
}

func ownAddresses() ([]netip.Addr, error) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list own addresses: %w", err)
	}
	var own []netip.Addr
	for _, a := range all {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil {
			own = append(own, prefix.Addr())
		}
	}
	return own, nil
}

// hasNetwork reports whether any address but loopback's has come up. Before
// that, nothing can be said about which ones the box will have.
func hasNetwork(own []netip.Addr) bool {
	return slices.ContainsFunc(own, func(a netip.Addr) bool { return !a.IsLoopback() && !a.IsLinkLocalUnicast() })
}

// free returns what stands in the way of listening there, so that the reason is
// known without reading redis-server's log. Between this and its start somebody
// else may come; then it ends, and is tried again.
func (e *endpoint) free(ctx context.Context, addrs []netip.Addr) error {
	if e.socket != "" {
		return e.freeSocket(ctx)
	}
	for _, a := range addrs {
		at := net.JoinHostPort(a.String(), e.port)
		var lc net.ListenConfig
		l, err := lc.Listen(ctx, "tcp", at)
		switch {
		case errors.Is(err, syscall.EADDRINUSE):
			return fmt.Errorf("another program listens on %s: end it (Debian's own: sudo systemctl disable --now redis-server), or set another port in redis.url", at)
		case errors.Is(err, syscall.EADDRNOTAVAIL):
			return fmt.Errorf("%s is %w now", a, errNotOurs)
		case errors.Is(err, syscall.EACCES):
			return fmt.Errorf("listening on %s is not permitted: use a port above 1023 in redis.url", at)
		case err != nil:
			return fmt.Errorf("listen on %s: %w", at, err)
		}
		_ = l.Close() // nothing was accepted
	}
	return nil
}

// freeSocket: redis-server removes whatever has the socket's name.
func (e *endpoint) freeSocket(ctx context.Context) error {
	info, err := os.Lstat(e.socket)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("stat %s: %w", e.socket, err)
	case info.Mode()&fs.ModeSocket == 0:
		return fmt.Errorf("%s is there and no socket: remove it, or name another in redis.url", e.socket)
	}
	var d net.Dialer
	if c, err := d.DialContext(ctx, "unix", e.socket); err == nil {
		_ = c.Close() // nothing was sent
		return fmt.Errorf("another program listens on %s: end it, or name another socket in redis.url", e.socket)
	}
	return nil
}
