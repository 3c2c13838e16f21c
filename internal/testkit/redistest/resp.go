package redistest

import (
	"bytes"
	"slices"
	"strconv"
)

// maxHeader is the longest line respCounter takes for RESP: an error or status
// reply fits.
const maxHeader = 64 << 10

// respCounter counts the complete values in a stream of RESP2 bytes, which may
// come in pieces of any size. A stream that is not RESP2 makes it broken.
type respCounter struct {
	complete int64 // values seen to their end
	broken   bool
	open     int64  // values still to come within the current one
	body     int64  // bytes of a bulk string still to come, its CRLF included
	header   []byte // beginning of a line whose end has not come yet
}

// feed takes the next bytes and returns the number of complete values so far.
func (c *respCounter) feed(data []byte) int64 {
	for len(data) > 0 && !c.broken {
		if c.body > 0 {
			n := min(c.body, int64(len(data)))
			c.body -= n
			data = data[n:]
			if c.body == 0 {
				c.closeValue()
			}
			continue
		}
		end := bytes.IndexByte(data, '\n')
		if end < 0 {
			c.header = append(c.header, data...)
			c.broken = len(c.header) > maxHeader
			return c.complete
		}
		line := slices.Concat(c.header, data[:end])
		c.header = nil
		data = data[end+1:]
		c.headerLine(bytes.TrimSuffix(line, []byte("\r")))
	}
	return c.complete
}

// headerLine takes the line that begins a value.
func (c *respCounter) headerLine(line []byte) {
	if len(line) == 0 {
		c.broken = true
		return
	}
	if c.open == 0 {
		c.open = 1
	}
	switch line[0] {
	case '+', '-', ':':
		c.closeValue()
	case '$', '*':
		n, err := strconv.ParseInt(string(line[1:]), 10, 64)
		switch {
		case err != nil:
			c.broken = true
		case n < 0: // a null
			c.closeValue()
		case line[0] == '$':
			c.body = n + 2
		default:
			c.open += n
			c.closeValue()
		}
	default:
		c.broken = true
	}
}

// closeValue ends one value, and with it the one around it if it was the last.
func (c *respCounter) closeValue() {
	if c.open--; c.open == 0 {
		c.complete++
	}
}

// atBoundary reports whether the bytes so far end with a complete value.
func (c *respCounter) atBoundary() bool {
	return c.open == 0 && c.body == 0 && len(c.header) == 0
}
