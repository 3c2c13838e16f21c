package web

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// guarded is a guarded page, asked from an address.
type guarded struct {
	handler http.Handler
	guesses *throttle
	log     bytes.Buffer
	now     time.Time
}

func newGuarded() *guarded {
	g := &guarded{now: time.Unix(1e9, 0)}
	g.guesses = newThrottle(zerolog.New(&g.log))
	g.guesses.now = func() time.Time { return g.now }
	g.handler = basicAuth("op", "right", g.guesses, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	return g
}

func (g *guarded) ask(from, user, password string) *http.Response {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.RemoteAddr = from
	if user != "" {
		r.SetBasicAuth(user, password)
	}
	w := httptest.NewRecorder()
	g.handler.ServeHTTP(w, r)
	return w.Result()
}

func (g *guarded) want(t *testing.T, from, user, password string, code int) {
	t.Helper()
	resp := g.ask(from, user, password)
	_ = resp.Body.Close()
	if resp.StatusCode != code {
		t.Errorf("%s with %q: got %d, want %d", from, password, resp.StatusCode, code)
	}
	if code == http.StatusTooManyRequests && resp.Header.Get("Retry-After") == "" {
		t.Error("nothing says how long to wait")
	}
}

// Whoever guesses has to wait, also with the right password, or the wait would tell;
// others do not, and neither does somebody who only has not been asked yet.
func TestGuessesHaveToWait(t *testing.T) {
	g := newGuarded()
	const guessers, other = "192.0.2.1:1", "192.0.2.2:1"
	for i := range wrongAtOnce {
		g.want(t, guessers, "op", fmt.Sprint("guess", i), http.StatusUnauthorized)
		g.want(t, guessers, "", "", http.StatusUnauthorized)
	}
	g.want(t, guessers, "op", "guess", http.StatusTooManyRequests)
	g.want(t, "192.0.2.1:2", "op", "right", http.StatusTooManyRequests)
	g.want(t, guessers, "", "", http.StatusUnauthorized)
	g.want(t, other, "op", "right", http.StatusOK)
	g.now = g.now.Add(wrongEvery)
	g.want(t, guessers, "op", "guess", http.StatusUnauthorized)
	g.want(t, guessers, "op", "right", http.StatusTooManyRequests)
	g.now = g.now.Add(wrongEvery)
	g.want(t, guessers, "op", "right", http.StatusOK)
	for i := range wrongAtOnce {
		g.want(t, fmt.Sprintf("[2001:db8::%x]:1", i+1), "op", fmt.Sprint("guess", i), http.StatusUnauthorized)
	}
	g.want(t, "[2001:db8::ffff]:1", "op", "right", http.StatusTooManyRequests) // the same host's network
	g.want(t, "[2001:db8:0:1::1]:1", "op", "right", http.StatusOK)
}

// A screen that still has the old password shares its address, a proxy's, with those who
// have the new one: it is one guess, however often it tries.
func TestAnOldPasswordLocksNobodyOut(t *testing.T) {
	g := newGuarded()
	const proxy = "192.0.2.1:1"
	for range 3 * wrongAtOnce {
		g.want(t, proxy, "op", "old", http.StatusUnauthorized)
		g.want(t, proxy, "op", "right", http.StatusOK)
	}
	for i := range wrongAtOnce - 1 {
		g.want(t, proxy, "op", fmt.Sprint("guess", i), http.StatusUnauthorized)
	}
	g.want(t, proxy, "op", "right", http.StatusTooManyRequests)
}

// The log has who and how often, few lines of it, and no password.
func TestGuessesAreLogged(t *testing.T) {
	g := newGuarded()
	for i := range 500 {
		_ = g.ask(fmt.Sprintf("192.0.%d.1:1", i%250), "o\x1b[2Jp", "GUESSED").Body.Close()
	}
	g.now = g.now.Add(guessLogEvery)
	_ = g.ask("192.0.2.9:1", "op", "GUESSED").Body.Close()
	if lines := strings.Count(g.log.String(), "\n"); lines != 2 || !strings.Contains(g.log.String(), `"address":"192.0.2.9","user":"op","attempts":500`) {
		t.Errorf("logged %d lines:\n%s", lines, &g.log)
	}
	if strings.Contains(g.log.String(), "GUESSED") || strings.Contains(g.log.String(), "u001b") {
		t.Errorf("logged %s", &g.log)
	}
}

func TestManyGuessersCostNoMemory(t *testing.T) {
	g := newGuarded()
	for i := range 3 * maxGuessers {
		g.guesses.failed(fmt.Sprintf("10.%d.%d.1:1", i/250, i%250), "op", "guess")
	}
	if n := max(len(g.guesses.until), len(g.guesses.last)); n > maxGuessers {
		t.Errorf("%d addresses are remembered", n)
	}
}
