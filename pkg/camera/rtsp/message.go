package rtsp

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"

	"framekeeper/pkg/camera/identity"
)

const (
	// maxHeader and maxBody bound a message. Real descriptions have some KiB.
	maxHeader = 64 << 10
	maxBody   = 256 << 10
)

// message is a request or an answer, or a packet between them that passes unread.
type message struct {
	lines []string // the first line and the headers, without line ends
	body  []byte   // without lines: frames
}

func (m message) raw() bool    { return len(m.lines) == 0 }
func (m message) answer() bool { return !m.raw() && strings.HasPrefix(m.lines[0], "RTSP/") }

// word is one of the three words of the first line.
func (m message) word(i int) string {
	if m.raw() {
		return ""
	}
	words := strings.SplitN(m.lines[0], " ", 3)
	if i >= len(words) {
		return ""
	}
	return words[i]
}

func (m message) method() string { return m.word(0) }
func (m message) uri() string    { return m.word(1) }

// status is that of an answer; 0: it is none of RTSP's.
func (m message) status() int {
	if m.raw() {
		return 0
	}
	words := strings.Fields(m.lines[0])
	if len(words) < 2 {
		return 0
	}
	n, _ := strconv.ParseUint(words[1], 10, 10)
	return int(n)
}

// headers are the values of that name.
func (m message) headers(name string) (values []string) {
	for _, line := range m.lines[min(1, len(m.lines)):] {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(strings.TrimSpace(key), name) {
			values = append(values, strings.TrimSpace(value))
		}
	}
	return values
}

func (m message) header(name string) string {
	if values := m.headers(name); len(values) > 0 {
		return values[0]
	}
	return ""
}

func (m message) withURI(uri string) message {
	lines := append([]string{m.word(0) + " " + uri + " " + m.word(2)}, m.lines[1:]...)
	return message{lines, m.body}
}

func (m message) without(name string) message {
	if m.raw() {
		return m
	}
	kept := m.lines[:1:1]
	for _, line := range m.lines[1:] {
		if key, _, _ := strings.Cut(line, ":"); !strings.EqualFold(strings.TrimSpace(key), name) {
			kept = append(kept, line)
		}
	}
	return message{kept, m.body}
}

func (m message) with(name, value string) message {
	return message{append(m.lines[:len(m.lines):len(m.lines)], name+": "+value), m.body}
}

func (m message) bytes() []byte {
	if m.raw() {
		return m.body
	}
	var b bytes.Buffer
	for _, line := range m.lines {
		b.WriteString(line + "\r\n")
	}
	b.WriteString("\r\n")
	b.Write(m.body)
	return b.Bytes()
}

// peer is a connection that messages are read from.
type peer struct {
	net.Conn
	r      *bufio.Reader
	frames []byte // of the last message; reused
}

func newPeer(conn net.Conn) *peer {
	return &peer{Conn: conn, r: bufio.NewReaderSize(conn, 64<<10)}
}

// next is the next message. Frames in it are valid until the next call. Some send line
// ends and more between messages: FFmpeg could read headers in it that nobody has
// bounded, so it is left out.
func (p *peer) next() (message, error) {
	for {
		first, err := p.r.ReadByte()
		if err != nil {
			return message{}, err
		}
		if first != '$' && (first < 'A' || first > 'Z') {
			continue
		}
		if err := p.r.UnreadByte(); err != nil {
			return message{}, err
		}
		if first == '$' {
			return p.interleaved()
		}
		return p.text()
	}
}

// interleaved is a packet between messages: "$", channel, length, data.
func (p *peer) interleaved() (message, error) {
	head, err := p.r.Peek(4)
	if err != nil {
		return message{}, err
	}
	n := 4 + int(binary.BigEndian.Uint16(head[2:]))
	if cap(p.frames) < n {
		p.frames = make([]byte, 4+0xffff)
	}
	p.frames = p.frames[:n]
	_, err = io.ReadFull(p.r, p.frames)
	return message{body: p.frames}, err
}

// text is a request or an answer. It leaves nothing for FFmpeg to read in another way:
// no return in a line, which FFmpeg passes over, no zero, which ends a header there, no
// "$", which begins a packet on any line, and one length of the body, as it is.
func (p *peer) text() (m message, err error) {
	for room := maxHeader; ; {
		line, err := p.r.ReadSlice('\n')
		if room -= len(line); errors.Is(err, bufio.ErrBufferFull) || room < 0 {
			return m, fmt.Errorf("%w sends a header of more than %d KiB", ErrCamera, maxHeader>>10)
		}
		if err != nil {
			return m, err
		}
		text := strings.NewReplacer("\r", "", "\n", "", "\x00", "").Replace(string(line))
		if text == "" {
			break
		}
		if m.lines == nil && !strings.HasPrefix(text, "RTSP/1.") && !strings.Contains(text, " RTSP/1.") {
			return m, ErrNotRTSP
		}
		if text[0] != '$' {
			m.lines = append(m.lines, text)
		}
	}
	length := m.header("Content-Length")
	m = m.without("Content-Length")
	if length != "" {
		n, err := strconv.ParseUint(length, 10, 64)
		if err != nil || n > maxBody {
			return m, fmt.Errorf("%w sends a description of %.20s bytes, expected at most %d KiB", ErrCamera, length, maxBody>>10)
		}
		m.body = make([]byte, n)
		if _, err := io.ReadFull(p.r, m.body); err != nil {
			return m, err
		}
		m = m.with("Content-Length", strconv.FormatUint(n, 10))
	}
	return m, nil
}

// ErrNotRTSP says that something else listens at the camera's address.
var ErrNotRTSP = fmt.Errorf("%w does not speak RTSP", ErrCamera)

// dial connects to a camera, by TLS if its scheme says so.
func (r *Relay) dial(ctx context.Context, at target) (*peer, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(at.host, at.port))
	if err != nil {
		return nil, err
	}
	if at.scheme != "rtsps" {
		return newPeer(conn), nil
	}
	secure := tls.Client(conn, &tls.Config{
		ServerName:         at.host,
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection does it
		VerifyConnection: func(s tls.ConnectionState) error {
			return identity.Verify(s.PeerCertificates, at.host, r.roots)
		},
	})
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return newPeer(secure), nil
}
