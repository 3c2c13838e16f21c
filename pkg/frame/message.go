// Package frame holds what travels: IDs, headers, requests, and the bytes they
// are on the wire. It promises that whatever it parses is bounded and never
// panics, and that building a message copies an image at most once. It imports
// nothing of Framekeeper's; every other package may use it.
package frame

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Checksum is the CRC-32C of an image as the header carries it.
func Checksum(image []byte) string {
	return hex.EncodeToString(binary.BigEndian.AppendUint32(nil, crc32.Checksum(image, castagnoli)))
}

// Message is one header and its image as they go over the wire: the header's
// JSON, one '\n', the image bytes. It is immutable once built.
type Message struct {
	Header Header
	wire   []byte
	split  int // length of the header's JSON
}

// NewMessage builds the wire form. Bytes is set from the image; a caller that
// sends one image several times computes CRC32C once and passes it in the
// header, otherwise it is computed here. The image is copied.
func NewMessage(h Header, image []byte) (*Message, error) {
	h.Bytes = len(image)
	if h.CRC32C == "" && len(image) > 0 {
		h.CRC32C = Checksum(image)
	}
	var head bytes.Buffer
	enc := json.NewEncoder(&head)
	enc.SetEscapeHTML(false) // it would blow an echoed request up beyond MaxHeader
	if err := enc.Encode(&h); err != nil {
		return nil, fmt.Errorf("encode header: %w", err)
	}
	if head.Len() > MaxHeader {
		return nil, fmt.Errorf("encode header: %d bytes, no reader takes more than %d", head.Len(), MaxHeader)
	}
	wire := make([]byte, 0, head.Len()+len(image))
	wire = append(wire, head.Bytes()...) // Encode ended it with '\n'
	wire = append(wire, image...)
	return &Message{Header: h, wire: wire, split: head.Len() - 1}, nil
}

// Wire is the whole message, as published.
func (m *Message) Wire() []byte { return m.wire }

// HeaderJSON is the header alone, as in the stream's "header" field.
func (m *Message) HeaderJSON() []byte { return m.wire[:m.split] }

// Image is the image alone, as in the stream's "image" field.
func (m *Message) Image() []byte { return m.wire[m.split+1:] }

// Size is how many bytes of memory the message takes.
func (m *Message) Size() int { return len(m.wire) }

// Errors a reader can meet in a message that arrived.
var (
	ErrNoHeader = errors.New("message has no header line")
	ErrLength   = errors.New("image length differs from the header's")
	ErrChecksum = errors.New("image checksum differs from the header's")
)

// MaxHeader bounds a header and its newline: a request of MaxRequestBytes,
// echoed, and what is ours.
const MaxHeader = 2*MaxRequestBytes + 4096

// ParseMessage takes a published message apart. The message refers to data, which
// must not change afterwards.
func ParseMessage(data []byte) (*Message, error) {
	head := data
	if len(head) > MaxHeader {
		head = head[:MaxHeader]
	}
	n := bytes.IndexByte(head, '\n')
	if n < 0 {
		return nil, ErrNoHeader
	}
	return check(&Message{wire: data, split: n})
}

// Entry is the message as the fields and values of a stream entry.
func (m *Message) Entry() []any {
	return []any{"header", m.HeaderJSON(), "image", m.Image()}
}

// ParseEntry makes a message of a stream entry's fields, which it copies. With
// ErrLength and ErrChecksum there is a message all the same, not to be trusted.
func ParseEntry(fields map[string]any) (*Message, error) {
	header, _ := fields["header"].(string)
	image, _ := fields["image"].(string)
	if len(header) >= MaxHeader || strings.IndexByte(header, '\n') >= 0 {
		return nil, ErrNoHeader
	}
	wire := make([]byte, 0, len(header)+1+len(image))
	wire = append(wire, header...)
	wire = append(wire, '\n')
	wire = append(wire, image...)
	return check(&Message{wire: wire, split: len(header)})
}

// check reads the header and compares it with the image that came along.
func check(m *Message) (*Message, error) {
	h, err := ParseHeader(m.HeaderJSON())
	if err != nil {
		return nil, err
	}
	m.Header = h
	if len(m.Image()) != h.Bytes {
		return m, fmt.Errorf("%w: %d bytes, header says %d", ErrLength, len(m.Image()), h.Bytes)
	}
	if h.CRC32C != "" && h.CRC32C != Checksum(m.Image()) {
		return m, ErrChecksum
	}
	return m, nil
}
