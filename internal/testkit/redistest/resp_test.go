package redistest

import (
	"strings"
	"testing"
)

func TestRespCounter(t *testing.T) {
	t.Parallel()
	const set = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\na\r\nb\r\n"
	for _, c := range []struct {
		in       string
		complete int64
		boundary bool
		broken   bool
	}{
		{"+OK\r\n", 1, true, false},
		{"-ERR no\r\n:12\r\n", 2, true, false},
		{"$-1\r\n*-1\r\n*0\r\n$0\r\n\r\n", 4, true, false},
		{set + set, 2, true, false},
		{set + set[:7], 1, false, false},
		{"*2\r\n*2\r\n:1\r\n:2\r\n*1\r\n$1\r\nx\r\n+OK\r\n", 2, true, false},
		{"*2\r\n*0\r\n+a\r\n", 1, true, false},
		{"+O", 0, false, false},
		{"$x\r\n", 0, false, true},
		{"\x16\x03\x01\n", 0, false, true},
		{strings.Repeat("+", maxHeader+1), 0, false, true},
	} {
		for _, step := range []int{1, 3, len(c.in)} {
			var r respCounter
			for rest := c.in; rest != ""; rest = rest[min(step, len(rest)):] {
				r.feed([]byte(rest[:min(step, len(rest))]))
			}
			if r.complete != c.complete || r.broken != c.broken || (!r.broken && r.atBoundary() != c.boundary) {
				t.Errorf("%.40q in pieces of %d: complete %d, boundary %v, broken %v; want %d, %v, %v",
					c.in, step, r.complete, r.atBoundary(), r.broken, c.complete, c.boundary, c.broken)
			}
		}
	}
}
