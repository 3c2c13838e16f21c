package config

import (
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

// findLines maps every key and table of a text to its line. The decoder knows
// positions too, but keeps them to itself. The text must already have been
// accepted by the decoder; of any other, lines may be wrong or missing.
func findLines(text string) map[string]int {
	s := &lineScanner{text: text, line: 1, at: make(map[string]int), arrays: make(map[string]int)}
	for s.blank(); s.pos < len(s.text); s.blank() {
		before := s.pos
		if s.peek() == '[' {
			s.header()
		} else {
			s.keyValue(s.table)
		}
		if s.pos == before {
			s.next() // not TOML after all; go on, somewhere
		}
	}
	return s.at
}

type lineScanner struct {
	text   string
	pos    int
	line   int
	table  string // path of the current table
	at     map[string]int
	arrays map[string]int // how many tables of an array there were so far
}

func (s *lineScanner) peek() byte {
	if s.pos < len(s.text) {
		return s.text[s.pos]
	}
	return 0
}

func (s *lineScanner) next() {
	if s.peek() == '\n' {
		s.line++
	}
	s.pos = min(s.pos+1, len(s.text))
}

func (s *lineScanner) skip(n int) {
	for range n {
		s.next()
	}
}

// blank skips white space, line ends and comments.
func (s *lineScanner) blank() {
	for s.pos < len(s.text) {
		switch s.peek() {
		case ' ', '\t', '\r', '\n':
			s.next()
		case '#':
			for s.pos < len(s.text) && s.peek() != '\n' {
				s.next()
			}
		default:
			return
		}
	}
}

// mark notes where a path is first seen.
func (s *lineScanner) mark(path string, line int) {
	if _, seen := s.at[path]; !seen {
		s.at[path] = line
	}
}

// header reads [table] or [[table]].
func (s *lineScanner) header() {
	line := s.line
	s.next()
	double := s.peek() == '['
	if double {
		s.next()
	}
	keys := s.keys("]\n")
	for s.peek() == ']' {
		s.next()
	}
	path := ""
	for i, key := range keys {
		path = join(path, key)
		if double && i == len(keys)-1 {
			s.mark(path, line)
			s.arrays[path]++
		}
		if n := s.arrays[path]; n > 0 {
			path += "[" + strconv.Itoa(n-1) + "]"
		}
		s.mark(path, line)
	}
	s.table = path
}

// keyValue reads key = value in the given table.
func (s *lineScanner) keyValue(table string) {
	line := s.line
	path := table
	for _, key := range s.keys("=\n,}") {
		path = join(path, key)
		s.mark(path, line)
	}
	if s.peek() == '=' {
		s.next()
		s.value(path)
	}
}

// keys reads a dotted key up to one of the end characters.
func (s *lineScanner) keys(end string) []string {
	var keys []string
	for s.pos < len(s.text) && strings.IndexByte(end, s.peek()) < 0 {
		start := s.pos
		switch c := s.peek(); c {
		case ' ', '\t', '\r', '.':
			s.next()
		case '"', '\'':
			s.quoted()
			keys = append(keys, unquoteKey(s.text[start:s.pos]))
		default:
			for s.pos < len(s.text) && strings.IndexByte(end+" \t\r.\"'", s.peek()) < 0 {
				s.next()
			}
			keys = append(keys, s.text[start:s.pos])
		}
	}
	return keys
}

// unquoteKey leaves the rules of quoting to the decoder.
func unquoteKey(quoted string) string {
	var v struct{ K string }
	if toml.Unmarshal([]byte("K = "+quoted), &v) != nil {
		return quoted
	}
	return v.K
}

// quoted skips a string of any of the four kinds.
func (s *lineScanner) quoted() {
	quote := s.text[s.pos : s.pos+1]
	if triple := strings.Repeat(quote, 3); strings.HasPrefix(s.text[s.pos:], triple) {
		quote = triple
	}
	s.skip(len(quote))
	for s.pos < len(s.text) && !strings.HasPrefix(s.text[s.pos:], quote) {
		if s.peek() == '\\' && quote[0] == '"' {
			s.next()
		}
		s.next()
	}
	s.skip(len(quote))
	for n := 0; len(quote) == 3 && n < 2 && s.peek() == quote[0]; n++ {
		s.next() // up to two quotes may stand before the closing three
	}
}

func (s *lineScanner) value(path string) {
	s.blank()
	switch s.peek() {
	case '"', '\'':
		s.quoted()
	case '[':
		s.list(path)
	case '{':
		s.inlineTable(path)
	default:
		for s.pos < len(s.text) && strings.IndexByte(",]}\n#", s.peek()) < 0 {
			s.next()
		}
	}
}

func (s *lineScanner) list(path string) {
	s.next()
	for i := 0; s.pos < len(s.text); {
		s.blank()
		switch s.peek() {
		case ']':
			s.next()
			return
		case ',':
			s.next()
			i++
		case '}':
			s.next() // not TOML
		default:
			item := path + "[" + strconv.Itoa(i) + "]"
			s.mark(item, s.line)
			s.value(item)
		}
	}
}

func (s *lineScanner) inlineTable(path string) {
	s.next()
	for s.pos < len(s.text) {
		s.blank()
		before := s.pos
		switch s.peek() {
		case '}':
			s.next()
			return
		case ',':
			s.next()
		default:
			s.keyValue(path)
		}
		if s.pos == before {
			s.next()
		}
	}
}
