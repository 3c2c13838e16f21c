// Package text makes text for people: figures in words, the same on the page and
// in a terminal, and what came from outside without what a terminal must not see.
// Every package may use it.
package text

import (
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Printable is s with a replacement character for everything that cannot be
// printed: what others sent must not command a terminal. At most limit runes are
// left, the last one then an ellipsis; 0: all.
func Printable(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
	if all := []rune(s); limit > 0 && len(all) > limit {
		return string(all[:limit-1]) + "…"
	}
	return s
}

// What a program prints about itself may hold a password that it was given: a URL's user
// and query, and what follows a word for a secret.
var (
	urlUser     = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://)[^\s'"]*@`)
	urlQuery    = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://[^\s'"?]*\?)[^\s'"]+`)
	namedSecret = regexp.MustCompile(`(?i)((?:pass(?:word|wd|phrase)?|user-pw|\bpw|pwd|secret|token|authorization|api-?key)["']?\s*[=:]\s*(?:(?:basic|digest|bearer)\s+)?)("[^"]*"|'[^']*'|[^\s,;&"']+)`)
)

// HideSecrets is s with an ellipsis for what may be a password or a token.
func HideSecrets(s string) string {
	s = urlUser.ReplaceAllString(s, "$1…@")
	s = urlQuery.ReplaceAllString(s, "$1…")
	return namedSecret.ReplaceAllString(s, "$1…")
}

// EscapeJSON is a JSON text of one line with an escape in place of everything that
// cannot be printed, and a replacement character for what is not UTF-8. It means the
// same: encoding/json escapes what is below a space, and a terminal obeys more.
func EscapeJSON(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for _, r := range string(text) { // what cannot be printed can only be part of a string
		switch {
		case unicode.IsPrint(r):
			out = utf8.AppendRune(out, r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
	}
	return out
}

// Count is "1 restart" or "2 restarts"; the noun forms its plural with an s.
func Count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// Lasting is a duration as somebody would say it, by its two largest units:
// "48 s", "3 min 20 s", "2 d 3 h". One that is not yet over, or negative because a
// clock was set, is "0 s".
func Lasting(d time.Duration) string {
	s := int64(max(d, 0).Round(time.Second) / time.Second)
	units := [...]struct {
		seconds int64
		name    string
	}{{24 * 60 * 60, "d"}, {60 * 60, "h"}, {60, "min"}, {1, "s"}}
	for i, u := range units[:len(units)-1] {
		if s < u.seconds {
			continue
		}
		text, next := fmt.Sprintf("%d %s", s/u.seconds, u.name), units[i+1]
		if rest := s % u.seconds / next.seconds; rest > 0 {
			text += fmt.Sprintf(" %d %s", rest, next.name)
		}
		return text
	}
	return fmt.Sprintf("%d s", s)
}

// Short is Lasting for what may be over in a moment: "0.2 s".
func Short(d time.Duration) string {
	if d = max(d, 0); d < 10*time.Second {
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return Lasting(d)
}

// Milliseconds is a latency: "12.3 ms".
func Milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}
