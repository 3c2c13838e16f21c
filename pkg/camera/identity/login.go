// Package identity proves to a network camera who asks, and to us who the camera is:
// Basic and Digest logins of HTTP and RTSP, and certificates. It sends nothing; whoever
// uses a Login decides to whom. The sources of network cameras use it.
package identity

import (
	"cmp"
	"crypto/md5" //nolint:gosec // RFC 7616 has it, and most cameras nothing better
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Login answers a server's challenges with the user and password of the configured
// URL. The zero Login answers nothing. One goroutine uses it.
type Login struct {
	user, password string
	known          bool // the URL names a user

	chosen Challenge // its scheme is "basic", "digest" or none yet
	count  uint32    // requests with its nonce
	cnonce func() string
}

// New is the Login of a URL's user and password, nil for none.
func New(u *url.Userinfo) *Login {
	l := &Login{cnonce: rand.Text}
	if u != nil {
		l.user = u.Username()
		l.password, _ = u.Password()
		l.known = true
	}
	return l
}

// digests are the algorithms of RFC 7616 that are understood, the better first.
func digests() []string { return []string{"sha-256", "sha-256-sess", "md5", "md5-sess"} }

// Known reports whether there is a user.
func (l *Login) Known() bool { return l.known }

// Chosen reports whether there was a challenge that can be answered.
func (l *Login) Chosen() bool { return l.chosen.Scheme != "" }

// Choose takes the best challenge of WWW-Authenticate headers. It reports false if
// there is none it can answer, or only the one that was answered already, in vain.
func (l *Login) Choose(headers []string) bool { return l.choose(ParseChallenges(headers)) }

func (l *Login) choose(all []Challenge) bool {
	if !l.known {
		return false
	}
	best, rank := Challenge{}, len(digests())+1
	for _, c := range all {
		r := len(digests()) + 1
		switch c.Scheme {
		case "digest":
			if i := slices.Index(digests(), algorithm(c)); i >= 0 && c.Params["nonce"] != "" && offersAuth(c.Params["qop"]) {
				r = i
			}
		case "basic":
			r = len(digests())
		}
		if r < rank {
			best, rank = c, r
		}
	}
	if best.Scheme == "" {
		return false
	}
	// A digest refused is worth another attempt only when its nonce was too old.
	if l.chosen.Scheme == best.Scheme && (best.Scheme == "basic" || !strings.EqualFold(best.Params["stale"], "true") && l.count == 1) {
		return false
	}
	l.chosen, l.count = best, 0
	return true
}

func algorithm(c Challenge) string { return strings.ToLower(cmp.Or(c.Params["algorithm"], "md5")) }

// offersAuth reads a list such as "auth,auth-int".
func offersAuth(qop string) bool {
	return qop == "" || slices.ContainsFunc(strings.Split(qop, ","), func(s string) bool {
		return strings.EqualFold(strings.TrimSpace(s), "auth")
	})
}

// Header is the Authorization header of a request of uri, "" for none.
func (l *Login) Header(method, uri string) string {
	switch l.chosen.Scheme {
	case "basic":
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(l.user+":"+l.password))
	case "digest":
		return l.digest(method, uri)
	}
	return ""
}

// digest is RFC 7616, 3.4.
func (l *Login) digest(method, uri string) string {
	name, realm, nonce, withQOP := algorithm(l.chosen), l.chosen.Params["realm"], l.chosen.Params["nonce"], l.chosen.Params["qop"] != ""
	sum := func(parts ...string) string {
		h := md5.New() //nolint:gosec // see the import
		if strings.HasPrefix(name, "sha-256") {
			h = sha256.New()
		}
		h.Write([]byte(strings.Join(parts, ":")))
		return hex.EncodeToString(h.Sum(nil))
	}
	l.count++
	cnonce, nc := l.cnonce(), fmt.Sprintf("%08x", l.count)
	a1 := sum(l.user, realm, l.password)
	if strings.HasSuffix(name, "-sess") {
		a1 = sum(a1, nonce, cnonce)
	}
	a2 := sum(method, uri)
	response := sum(a1, nonce, a2)
	if withQOP {
		response = sum(a1, nonce, nc, cnonce, "auth", a2)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Digest username=%s, realm=%s, nonce=%s, uri=%s, response=%q", quoted(l.user), quoted(realm), quoted(nonce), quoted(uri), response)
	if a := l.chosen.Params["algorithm"]; a != "" {
		fmt.Fprintf(&b, ", algorithm=%s", a) // as the server writes it
	}
	if opaque, given := l.chosen.Params["opaque"]; given { // unchanged, also when it is empty
		fmt.Fprintf(&b, ", opaque=%s", quoted(opaque))
	}
	if withQOP || strings.HasSuffix(name, "-sess") {
		fmt.Fprintf(&b, ", cnonce=%q", cnonce)
	}
	if withQOP {
		fmt.Fprintf(&b, ", qop=auth, nc=%s", nc)
	}
	return b.String()
}

// quoted is RFC 9110's quoted-string; a header's value cannot hold line breaks.
func quoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\r", "", "\n", "").Replace(s) + `"`
}
