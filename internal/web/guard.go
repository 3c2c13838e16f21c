package web

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// basicAuth lets in only who knows both words. Their hashes are compared, in
// constant time and both always, so that neither content nor length shows in
// the time an answer takes. An address that guesses has to wait.
func basicAuth(user, password string, guesses *throttle, next http.Handler) http.Handler {
	wantUser, wantPassword := sha256.Sum256([]byte(user)), sha256.Sum256([]byte(password))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u, p, tried := r.BasicAuth()
		if wait := guesses.wait(r.RemoteAddr); tried && wait > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int(wait/time.Second)+1))
			http.Error(w, "too many wrong passwords from this address; wait", http.StatusTooManyRequests)
			return
		}
		gotUser, gotPassword := sha256.Sum256([]byte(u)), sha256.Sum256([]byte(p))
		ok := subtle.ConstantTimeCompare(gotUser[:], wantUser[:]) & subtle.ConstantTimeCompare(gotPassword[:], wantPassword[:])
		if ok != 1 {
			if tried {
				guesses.failed(r.RemoteAddr, u, p)
			}
			w.Header().Set("WWW-Authenticate", `Basic realm="framekeeper", charset="UTF-8"`)
			http.Error(w, "user name and password required", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// secured instructs browsers to run nothing, embed nothing and keep nothing. The
// page's one style sheet and its one script are allowed by their hashes; the
// script may ask this server and no other, which has the pictures too, and the icon
// stands in the page. Pages of other origins get nothing (see HTTPEmbed).
func secured(next http.Handler) http.Handler {
	policy := "default-src 'none'; style-src '" + hash(style()) + "'; script-src '" + hash(script()) +
		"'; connect-src 'self'; img-src 'self' blob: data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		next.ServeHTTP(w, r)
	})
}

// maxVisitors is how many connections there may be at a time. Each costs a file
// descriptor and some kilobytes, which the box needs for its cameras.
const maxVisitors = 200

// visitors are the connections there are. One too many takes the place of the one
// that has asked for nothing for the longest, and is closed itself if all others
// are being answered.
type visitors struct {
	mu      sync.Mutex             // guards waiting
	waiting map[net.Conn]time.Time // since when for a request; zero: it is being answered
}

func newVisitors() *visitors { return &visitors{waiting: map[net.Conn]time.Time{}} }

// limit is called by net/http whenever a connection changes.
func (v *visitors) limit(conn net.Conn, state http.ConnState) {
	v.mu.Lock()
	defer v.mu.Unlock()
	_, known := v.waiting[conn]
	switch {
	case state == http.StateNew:
		if len(v.waiting) >= maxVisitors && !v.evict() {
			hangUp(conn) // net/http sees it, and says StateClosed
			return
		}
		v.waiting[conn] = time.Now()
	case state == http.StateClosed, state == http.StateHijacked:
		delete(v.waiting, conn)
	case !known: // evicted just now
	case state == http.StateIdle:
		v.waiting[conn] = time.Now()
	case state == http.StateActive:
		v.waiting[conn] = time.Time{}
	}
}

// evict closes the one that has waited for the longest, if one does. The caller
// holds mu.
func (v *visitors) evict() bool {
	var longest net.Conn
	for conn, since := range v.waiting {
		if !since.IsZero() && (longest == nil || since.Before(v.waiting[longest])) {
			longest = conn
		}
	}
	if longest == nil {
		return false
	}
	delete(v.waiting, longest)
	hangUp(longest)
	return true
}

// hangUp closes a connection without TLS's farewell, which waits for a visitor who
// does not read, as everybody else then does.
func hangUp(conn net.Conn) {
	if encrypted, ok := conn.(*tls.Conn); ok {
		conn = encrypted.NetConn()
	}
	_ = conn.Close()
}
