package redisconn

import (
	"bytes"
	"net"
	"strconv"
)

// stringLimiter passes on what a server sends (RESP2), but a string longer than
// longest as an empty one. go-redis makes room for a string as soon as its
// length is there, so that anybody who may set a key or publish could have a box
// take half a gigabyte. Ending the connection instead would let them end
// sessions. Only the reader uses it.
type stringLimiter struct {
	net.Conn
	longest int64

	rest   int64  // of the string at hand, its end of line included
	drop   bool   // the string at hand is left out
	other  bool   // amid a line that begins no string
	line   []byte // the part that is there of one that does
	ready  []byte // to be read next
	failed error  // after that
}

const (
	maxHeader = 32      // is longer than any line that begins a string
	maxString = 1 << 40 // is longer than any string: a longer one is none
)

func (s *stringLimiter) Read(p []byte) (int, error) {
	for len(s.ready) == 0 {
		if err := s.failed; err != nil {
			s.failed = nil // of a deadline: it may be moved on
			return 0, err
		}
		n, err := s.Conn.Read(p)
		if err == nil && int64(n) <= s.rest && !s.drop { // most of what is long
			s.rest -= int64(n)
			return n, nil
		}
		s.ready, s.failed = s.ready[:0], err
		s.sort(p[:n])
	}
	n := copy(p, s.ready)
	s.ready = s.ready[n:]
	return n, nil
}

// sort moves what has come to ready.
func (s *stringLimiter) sort(in []byte) {
	for len(in) > 0 {
		if s.rest > 0 {
			n := min(s.rest, int64(len(in)))
			if !s.drop {
				s.ready = append(s.ready, in[:n]...)
			}
			s.rest -= n
			in = in[n:]
			continue
		}
		n, whole := len(in), false
		if end := bytes.IndexByte(in, '\n'); end >= 0 {
			n, whole = end+1, true
		}
		if len(s.line) == 0 && !s.other && in[0] != '$' {
			s.other = true
		}
		if s.other {
			s.ready = append(s.ready, in[:n]...)
			s.other = !whole
		} else {
			s.begin(in[:n], whole)
		}
		in = in[n:]
	}
}

// begin takes a part of the line that begins a string.
func (s *stringLimiter) begin(part []byte, whole bool) {
	s.line = append(s.line, part...)
	if !whole && len(s.line) <= maxHeader {
		return
	}
	n, err := strconv.ParseInt(string(bytes.TrimRight(s.line[1:], "\r\n")), 10, 64)
	known := whole && len(s.line) <= maxHeader && err == nil && n >= 0 && n <= maxString
	if s.drop = known && n > s.longest; s.drop {
		s.line = append(s.line[:0], "$0\r\n\r\n"...)
	}
	if known {
		s.rest = n + int64(len("\r\n"))
	}
	s.ready = append(s.ready, s.line...)
	s.line, s.other = s.line[:0], !whole
}
