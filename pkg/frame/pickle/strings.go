package pickle

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// quoted reads the strings of protocol 0: STRING, the repr of a Python 2 str,
// and UNICODE in raw-unicode-escape.
func (m *machine) quoted(op byte) (*node, error) {
	raw, err := m.line()
	if err != nil {
		return nil, err
	}
	if op == 'V' {
		text, ok := unescapeUnicode(raw)
		if !ok {
			return nil, refuse("a str with a lone surrogate or a bad escape")
		}
		return &node{kind: nodeString, text: text}, nil
	}
	raw = bytes.TrimRight(raw, " \t\r")
	n := len(raw)
	if n < 2 || raw[0] != raw[n-1] || (raw[0] != '\'' && raw[0] != '"') {
		return nil, refuse("not a pickle: a str without quotes")
	}
	b, ok := unescapeString(raw[1 : n-1])
	if !ok {
		return nil, refuse("not a pickle: a bad escape in a str")
	}
	return &node{kind: nodeString, text: bytesText(string(b))}, nil
}

// simpleEscapes are those of a Python string literal that stand for one byte.
var simpleEscapes = map[byte]byte{
	'\\': '\\', '\'': '\'', '"': '"', 'a': '\a', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t', 'v': '\v',
}

func unescapeString(s []byte) ([]byte, bool) {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			out = append(out, s[i])
			continue
		}
		i++
		if i == len(s) {
			return nil, false
		}
		switch c := s[i]; {
		case simpleEscapes[c] != 0:
			out = append(out, simpleEscapes[c])
		case c == 'x':
			v, ok := hexNumber(s, i+1, 2)
			if !ok {
				return nil, false
			}
			out = append(out, byte(v))
			i += 2
		case c >= '0' && c <= '7':
			v := 0
			for n := 0; n < 3 && i < len(s) && s[i] >= '0' && s[i] <= '7'; n++ {
				v = v*8 + int(s[i]-'0')
				i++
			}
			out = append(out, byte(v))
			i--
		default: // Python leaves an unknown escape as it is
			out = append(out, '\\', c)
		}
	}
	return out, true
}

// unescapeUnicode: only \uXXXX and \UXXXXXXXX mean something, any other byte is
// the Latin-1 character. A narrow Python 2 wrote surrogate pairs.
func unescapeUnicode(s []byte) (string, bool) {
	var out strings.Builder
	for i := 0; i < len(s); {
		width := escapeWidth(s[i:])
		if width == 0 {
			out.WriteRune(rune(s[i]))
			i++
			continue
		}
		v, ok := hexNumber(s, i+2, width)
		if !ok || v > utf8.MaxRune {
			return "", false
		}
		i += 2 + width
		c := rune(v)
		if utf16.IsSurrogate(c) {
			low, ok := uint64(0), false
			if escapeWidth(s[i:]) == 4 {
				low, ok = hexNumber(s, i+2, 4)
			}
			if c = utf16.DecodeRune(c, rune(low)); !ok || c == utf8.RuneError {
				return "", false
			}
			i += 6
		}
		out.WriteRune(c)
	}
	return out.String(), true
}

// escapeWidth is how many digits the escape at the start of s has, 0 if there is none.
func escapeWidth(s []byte) int {
	switch {
	case bytes.HasPrefix(s, []byte(`\u`)):
		return 4
	case bytes.HasPrefix(s, []byte(`\U`)):
		return 8
	}
	return 0
}

func hexNumber(s []byte, at, digits int) (uint64, bool) {
	if at+digits > len(s) {
		return 0, false
	}
	v, err := strconv.ParseUint(string(s[at:at+digits]), 16, 32)
	return v, err == nil
}
