package frame

import (
	"bytes"
	"strconv"
	"unicode/utf16"
)

const maxDigits = 300 // of a number; Python refuses an integer of more than 4300, others earlier

// portable refuses what valid JSON may hold and some JSON parser rejects: every
// reader must be able to read the echo of a request. The object is compact.
func portable(object []byte) error {
	var open []map[string]bool // the keys of each object around; nil for a list
	for i := 0; i < len(object); i++ {
		switch c := object[i]; {
		case c == '{':
			open = append(open, map[string]bool{})
		case c == '[':
			open = append(open, nil)
		case c == '}' || c == ']':
			open = open[:len(open)-1]
		case c == '-' || c >= '0' && c <= '9':
			number := object[i : i+span(object[i:])]
			if err := portableNumber(number); err != nil {
				return err
			}
			i += len(number) - 1
		case c == '"':
			text := object[i : i+quoted(object[i:])]
			if loneSurrogate(text) {
				return refuse("a lone surrogate in a string; not every JSON parser reads it")
			}
			i += len(text) - 1
			if object[i+1] != ':' {
				continue
			}
			var key string
			if err := Decode(text, &key); err != nil {
				return refuse("not JSON: %v", err)
			}
			if keys := open[len(open)-1]; keys[key] {
				return refuse("the key %.40q twice; JSON parsers differ in which one counts", key)
			}
			open[len(open)-1][key] = true
		}
	}
	return nil
}

// span is the length of the number that a text begins with.
func span(text []byte) int {
	return len(text) - len(bytes.TrimLeft(text, "+-.0123456789eE"))
}

func portableNumber(number []byte) error {
	digits := 0
	for _, c := range number {
		if c >= '0' && c <= '9' {
			digits++
		}
	}
	if digits > maxDigits {
		return refuse("a number of %d digits, at most %d are allowed", digits, maxDigits)
	}
	if _, err := strconv.ParseFloat(string(number), 64); err != nil {
		return refuse("the number %.40s is beyond the range of a double", number)
	}
	return nil
}

// quoted is the length of the JSON string that a text begins with.
func quoted(text []byte) int {
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(text)
}

// loneSurrogate reports whether a JSON string escapes half a surrogate pair.
func loneSurrogate(text []byte) bool {
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			continue
		}
		first, ok := escaped(text[i:])
		if !ok || !utf16.IsSurrogate(first) {
			i++
			continue
		}
		second, ok := escaped(text[i+6:])
		if !ok || utf16.DecodeRune(first, second) == '\uFFFD' {
			return true
		}
		i += 11
	}
	return false
}

// escaped is the code of the \uXXXX that a text begins with.
func escaped(text []byte) (rune, bool) {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return 0, false
	}
	code, err := strconv.ParseUint(string(text[2:6]), 16, 32)
	return rune(code), err == nil //nolint:gosec // four hex digits
}
