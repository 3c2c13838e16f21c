package mjpeg

import (
	"bytes"
	"net"
	"strconv"
	"sync/atomic"
)

// lenientConn mends the header of each answer before net/http reads it, which takes
// less than browsers, curl and FFmpeg do: old cameras' lines without a colon, lengths
// of -1, and "ICY 200 OK". One goroutine reads at a time.
type lenientConn struct {
	net.Conn
	asked atomic.Bool // a request was sent, and its answer's header has not been read
	raw   []byte      // the header as far as it has come
	ready []byte      // mended, and what came with it
}

// Write sends a request, or a part of it.
func (c *lenientConn) Write(p []byte) (int, error) {
	c.asked.Store(true)
	return c.Conn.Write(p)
}

// Read holds an answer's header back until it is whole.
func (c *lenientConn) Read(p []byte) (int, error) {
	for len(c.ready) == 0 {
		n, err := c.Conn.Read(p)
		if !c.asked.Load() || n == 0 && len(c.raw) == 0 {
			return n, err
		}
		c.raw = append(c.raw, p[:n]...)
		end := headerEnd(c.raw)
		if end == 0 && err == nil && len(c.raw) < maxHeader {
			continue
		}
		// An error comes again with the next Read.
		c.ready = append(mendHeader(c.raw[:end]), c.raw[end:]...)
		c.raw = nil
		c.asked.Store(false)
	}
	n := copy(p, c.ready)
	c.ready = c.ready[n:]
	return n, nil
}

// headerEnd is how long the header is, with the empty line after it; 0: it has not ended.
func headerEnd(p []byte) int {
	for at := 0; ; {
		k := bytes.IndexByte(p[at:], '\n')
		if k < 0 {
			return 0
		}
		empty := at > 0 && len(bytes.TrimSpace(p[at:at+k])) == 0
		if at += k + 1; empty {
			return at
		}
	}
}

// mendHeader leaves out what net/http refuses, and the length of 0 that some cameras
// of HTTP/1.0 state for a stream, which ends with the connection.
func mendHeader(header []byte) (mended []byte) {
	stream := !bytes.HasPrefix(header, []byte("HTTP/1.1")) && bytes.Contains(bytes.ToLower(header), []byte("multipart/"))
	first := true
	for line := range bytes.Lines(header) {
		name, value, found := bytes.Cut(line, []byte(":"))
		name, value = bytes.TrimRight(name, " \t"), bytes.TrimSpace(value)
		switch {
		case first:
			if rest, icy := bytes.CutPrefix(line, []byte("ICY ")); icy {
				line = append([]byte("HTTP/1.0 "), rest...)
			}
			first = false
		case len(bytes.TrimSpace(line)) == 0: // the end
		case !found || len(name) == 0 || bytes.ContainsAny(name, " \t"):
			continue
		case bytes.EqualFold(name, []byte("Content-Length")):
			if n, err := strconv.ParseUint(string(value), 10, 63); err != nil || n == 0 && stream {
				continue
			}
		}
		mended = append(mended, line...)
	}
	return mended
}
