package web

import (
	"hash/maphash"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/text"
)

const (
	// wrongAtOnce is how many wrong passwords an address may try in a row, and
	// wrongEvery how long it waits for each further one: somebody who mistypes does not
	// notice, and a million guesses take three weeks.
	wrongAtOnce = 10
	wrongEvery  = 2 * time.Second
	// maxGuessers bounds the addresses that are remembered.
	maxGuessers = 1000
	// guessLogEvery is the pause between two lines of the log about wrong passwords.
	guessLogEvery = 10 * time.Second
)

// throttle limits how fast passwords can be guessed from an address, and logs it.
type throttle struct {
	log zerolog.Logger
	now func() time.Time

	seed maphash.Seed

	mu     sync.Mutex                 // guards all below
	until  map[netip.Prefix]time.Time // when its wrong passwords are forgotten
	last   map[netip.Prefix]uint64    // hash of its last wrong one
	wrong  int                        // since the last line in the log
	logged time.Time
}

func newThrottle(log zerolog.Logger) *throttle {
	return &throttle{log: log, now: time.Now, seed: maphash.MakeSeed(), until: map[netip.Prefix]time.Time{}, last: map[netip.Prefix]uint64{}}
}

// guesser is whose guesses are counted together: an address, or the network that one
// host has with IPv6.
func guesser(remote string) netip.Prefix {
	addr, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Prefix{} // all of these count as one
	}
	ip, bits := addr.Addr().Unmap(), 32
	if ip.Is6() {
		bits = 64
	}
	p, _ := ip.WithZone("").Prefix(bits) // the bits are right
	return p
}

// wait is how long the address has to wait before a password of its is looked at.
func (t *throttle) wait(remote string) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	until, known := t.until[guesser(remote)]
	if !known {
		return 0
	}
	return max(0, until.Add(-(wrongAtOnce-1)*wrongEvery).Sub(t.now()))
}

// failed notes a wrong password. The same one again is no further guess: a screen that
// still has the old password must not lock out those who share its address.
func (t *throttle) failed(remote, user, password string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now, who, tried := t.now(), guesser(remote), maphash.Comparable(t.seed, [2]string{user, password})
	if _, known := t.until[who]; !known && len(t.until) >= maxGuessers {
		t.forget(now)
	}
	until := t.until[who]
	if until.Before(now) {
		until = now
	}
	if last, known := t.last[who]; !known || last != tried {
		until = until.Add(wrongEvery)
	}
	t.until[who], t.last[who] = until, tried
	if t.wrong++; now.Sub(t.logged) < guessLogEvery {
		return
	}
	host, _, _ := net.SplitHostPort(remote)
	t.log.Warn().Str("address", text.Printable(host, 60)).Str("user", text.Printable(user, 60)).Int("attempts", t.wrong).
		Msg("Wrong user or password for the page")
	t.wrong, t.logged = 0, now
}

// forget makes room: those whose time is over go, else the one whose time is over next.
// The caller holds mu.
func (t *throttle) forget(now time.Time) {
	var next netip.Prefix
	for who, until := range t.until {
		if until.Before(now) {
			delete(t.until, who)
			delete(t.last, who)
		} else if first := t.until[next]; first.IsZero() || until.Before(first) {
			next = who
		}
	}
	if len(t.until) >= maxGuessers {
		delete(t.until, next)
		delete(t.last, next)
	}
}
