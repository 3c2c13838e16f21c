package mjpeg

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

// login answers a server's challenges with the user and password of the
// configured URL. The zero login answers nothing.
type login struct {
	user, password string
	known          bool // the URL names a user

	challenge        // in use; its scheme is "basic", "digest" or none yet
	count     uint32 // requests with its nonce
	cnonce    func() string
}

func newLogin(u *url.Userinfo) *login {
	l := &login{cnonce: rand.Text}
	if u != nil {
		l.user = u.Username()
		l.password, _ = u.Password()
		l.known = true
	}
	return l
}

// digests are the algorithms of RFC 7616 that are understood, the better first.
func digests() []string { return []string{"sha-256", "sha-256-sess", "md5", "md5-sess"} }

// choose takes the best of the challenges. It reports false if there is none it
// can answer, or only the one that was answered already, in vain.
func (l *login) choose(all []challenge) bool {
	if !l.known {
		return false
	}
	best, rank := challenge{}, len(digests())+1
	for _, c := range all {
		r := len(digests()) + 1
		switch c.scheme {
		case "digest":
			if i := slices.Index(digests(), algorithm(c)); i >= 0 && c.params["nonce"] != "" && offersAuth(c.params["qop"]) {
				r = i
			}
		case "basic":
			r = len(digests())
		}
		if r < rank {
			best, rank = c, r
		}
	}
	if best.scheme == "" {
		return false
	}
	// A digest refused is worth another attempt only when its nonce was too old.
	if l.scheme == best.scheme && (best.scheme == "basic" || !strings.EqualFold(best.params["stale"], "true") && l.count == 1) {
		return false
	}
	l.challenge, l.count = best, 0
	return true
}

func algorithm(c challenge) string { return strings.ToLower(cmp.Or(c.params["algorithm"], "md5")) }

// offersAuth reads a list such as "auth,auth-int".
func offersAuth(qop string) bool {
	return qop == "" || slices.ContainsFunc(strings.Split(qop, ","), func(s string) bool {
		return strings.EqualFold(strings.TrimSpace(s), "auth")
	})
}

// header is the Authorization header of a GET of uri, "" for none.
func (l *login) header(uri string) string {
	switch l.scheme {
	case "basic":
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(l.user+":"+l.password))
	case "digest":
		return l.digest(uri)
	}
	return ""
}

// digest is RFC 7616, 3.4.
func (l *login) digest(uri string) string {
	name, realm, nonce, withQOP := algorithm(l.challenge), l.params["realm"], l.params["nonce"], l.params["qop"] != ""
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
	a2 := sum("GET", uri)
	response := sum(a1, nonce, a2)
	if withQOP {
		response = sum(a1, nonce, nc, cnonce, "auth", a2)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Digest username=%s, realm=%s, nonce=%s, uri=%s, response=%q", quoted(l.user), quoted(realm), quoted(nonce), quoted(uri), response)
	if a := l.params["algorithm"]; a != "" {
		fmt.Fprintf(&b, ", algorithm=%s", a) // as the server writes it
	}
	if opaque, given := l.params["opaque"]; given { // unchanged, also when it is empty
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
