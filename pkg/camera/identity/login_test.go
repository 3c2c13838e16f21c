package identity

import (
	"strings"
	"testing"
)

// TestDigestExample is the example of RFC 7616, 3.9.1.
func TestDigestExample(t *testing.T) {
	for name, want := range map[string]string{
		"MD5": "8ca523f5e9506fed4657c9700eebdbec", "SHA-256": "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
	} {
		l := &Login{user: "Mufasa", password: "Circle of Life", known: true, cnonce: func() string { return "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ" }}
		ok := l.choose(ParseChallenges([]string{`Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=` + name +
			`, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"`}))
		if got := l.Header("GET", "/dir/index.html"); !ok || !strings.Contains(got, `response="`+want+`"`) {
			t.Errorf("%s: %v, %s", name, ok, got)
		}
	}
}

// FuzzChallenges: whatever a server offers, the answer is one line.
func FuzzChallenges(f *testing.F) {
	f.Add(`Digest realm="a", nonce="b\"", qop="auth,auth-int", Basic realm=x`)
	f.Add(`Digest nonce="`)
	f.Add(`Negotiate abc==, =, , Digest realm = "x" ,nonce=1`)
	f.Fuzz(func(t *testing.T, header string) {
		all := ParseChallenges([]string{header, header})
		if len(all) > maxChallenges {
			t.Fatalf("%d challenges", len(all))
		}
		l := &Login{user: "u\r\n", password: "p", known: true, cnonce: func() string { return "c" }}
		if l.choose(all) {
			if h := l.Header("DESCRIBE", "/"); strings.ContainsAny(h, "\r\n") || h == "" {
				t.Fatalf("answered with %q", h)
			}
		}
	})
}
