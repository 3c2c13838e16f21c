package mjpeg

import (
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

	scheme    string // in use: "basic", "digest" or none yet
	realm     string
	nonce     string
	opaque    string
	algorithm string // as the server writes it
	qop       bool   // qop=auth; without, as in RFC 2069
	count     uint32 // requests with this nonce
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
	l.scheme, l.realm, l.nonce, l.opaque = best.scheme, best.params["realm"], best.params["nonce"], best.params["opaque"]
	l.algorithm, l.qop, l.count = best.params["algorithm"], best.params["qop"] != "", 0
	return true
}

func algorithm(c challenge) string {
	if a := c.params["algorithm"]; a != "" {
		return strings.ToLower(a)
	}
	return "md5"
}

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
	name := strings.ToLower(l.algorithm)
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
	a1 := sum(l.user, l.realm, l.password)
	if strings.HasSuffix(name, "-sess") {
		a1 = sum(a1, l.nonce, cnonce)
	}
	a2 := sum("GET", uri)
	response := sum(a1, l.nonce, a2)
	if l.qop {
		response = sum(a1, l.nonce, nc, cnonce, "auth", a2)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Digest username=%s, realm=%s, nonce=%s, uri=%s, response=%q", quoted(l.user), quoted(l.realm), quoted(l.nonce), quoted(uri), response)
	if l.algorithm != "" {
		fmt.Fprintf(&b, ", algorithm=%s", l.algorithm)
	}
	if l.opaque != "" {
		fmt.Fprintf(&b, ", opaque=%s", quoted(l.opaque))
	}
	if l.qop || strings.HasSuffix(name, "-sess") {
		fmt.Fprintf(&b, ", cnonce=%q", cnonce)
	}
	if l.qop {
		fmt.Fprintf(&b, ", qop=auth, nc=%s", nc)
	}
	return b.String()
}

// quoted is RFC 9110's quoted-string; a header's value cannot hold line breaks.
func quoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\r", "", "\n", "").Replace(s) + `"`
}
