package redisserver

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"framekeeper/pkg/redisconn"
)

func TestConf(t *testing.T) {
	const secret = "planted secret"
	for name, c := range map[string]struct {
		url, user, password string
		addrs               []netip.Addr
		want                []string
	}{
		"default":  {"redis://127.0.0.1:6379/0", "", "", []netip.Addr{netip.MustParseAddr("127.0.0.1")}, []string{"port 6379", "bind 127.0.0.1", "databases 16"}},
		"no port":  {"redis://[::1]/20", "", "", []netip.Addr{netip.IPv6Loopback()}, []string{"port 6379", "bind ::1", "databases 21"}},
		"socket":   {"unix:///run/a b.sock", "", secret, nil, []string{"port 0", `unixsocket "/run/a b.sock"`}},
		"user":     {"redis://bob@10.0.0.1:7000", "", secret, []netip.Addr{netip.MustParseAddr("10.0.0.1")}, []string{"user default off", "port 7000", "bind 10.0.0.1"}},
		"username": {"redis://10.0.0.1:7000", "bob", secret, []netip.Addr{netip.MustParseAddr("10.0.0.1")}, []string{"user default off"}},
	} {
		e, err := endpointOf(&redisconn.Config{URL: c.url, Username: c.user})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		s := settings{endpoint: e, addrs: c.addrs, dir: "/d", memory: MemoryFor(64<<20, 0, 0), password: c.password}
		text := string(s.conf())
		lines := strings.Split(text, "\n")
		for _, want := range append(c.want, "maxmemory 234881024", "maxmemory-policy noeviction", `save ""`, "appendonly no") {
			if !slices.Contains(lines, want) {
				t.Errorf("%s: got\n%s\nwant the line %q", name, text, want)
			}
		}
		if strings.Contains(text, secret) {
			t.Errorf("%s: a password stands in\n%s", name, text)
		}
	}
}

func TestQuoted(t *testing.T) {
	if got, want := quoted("a\"b\\c\nd"), `"a\"b\\c\nd"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestHasNetwork(t *testing.T) {
	for text, want := range map[string]bool{"127.0.0.1": false, "::1": false, "169.254.1.1": false, "fe80::1": false, "10.0.0.1": true} {
		if got := hasNetwork([]netip.Addr{netip.MustParseAddr(text)}); got != want {
			t.Errorf("%s: got %v, want %v", text, got, want)
		}
	}
}
