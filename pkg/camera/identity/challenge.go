package identity

import "strings"

// Challenge is one way a server offers to prove who one is (RFC 9110, 11.6.1).
type Challenge struct {
	Scheme string            // in lower case
	Params map[string]string // names in lower case
}

// maxChallenges bounds what is read of a server's offers.
const maxChallenges = 16

// ParseChallenges reads WWW-Authenticate headers. One header may hold several
// challenges: a comma separates both challenges and the parameters of one.
// What cannot be understood is left out.
func ParseChallenges(headers []string) (all []Challenge) {
	for _, h := range headers {
		for len(all) < maxChallenges {
			h = strings.TrimLeft(h, " \t,")
			if h == "" {
				break
			}
			var word string
			word, h = cutToken(h)
			if word == "" {
				break // neither a scheme nor a parameter
			}
			rest := strings.TrimLeft(h, " \t")
			if value, after, ok := cutValue(rest); ok {
				h = after
				if len(all) > 0 {
					all[len(all)-1].Params[strings.ToLower(word)] = value
				}
				continue
			}
			all = append(all, Challenge{strings.ToLower(word), map[string]string{}})
		}
	}
	return all
}

// cutToken takes a name off the front.
func cutToken(s string) (token, rest string) {
	end := strings.IndexFunc(s, func(r rune) bool {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		return !letter && !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
	})
	if end < 0 {
		end = len(s)
	}
	return s[:end], s[end:]
}

// cutValue takes ="value" or =value off the front.
func cutValue(s string) (value, rest string, ok bool) {
	s, ok = strings.CutPrefix(s, "=")
	if !ok {
		return "", "", false
	}
	s = strings.TrimLeft(s, " \t")
	if !strings.HasPrefix(s, `"`) {
		end := strings.IndexAny(s, " \t,")
		if end < 0 {
			end = len(s)
		}
		return s[:end], s[end:], true
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return b.String(), s[i+1:], true
		case s[i] == '\\' && i+1 < len(s):
			i++
		}
		b.WriteByte(s[i])
	}
	return "", "", false // not closed
}
