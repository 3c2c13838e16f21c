package frame

import (
	"encoding/json"
	"fmt"
)

// Status is the kind of a message.
type Status string

// The four kinds of message. Readers meet StatusError only on pub/sub, and
// StatusDropped and StatusStarted only in the stream.
const (
	StatusOK      Status = "ok"      // an image follows
	StatusError   Status = "error"   // a request that could not be served
	StatusDropped Status = "dropped" // the agent declares frames it lost
	StatusStarted Status = "started" // the first entry of an epoch
)

// Encoding is the format of the image bytes.
type Encoding string

// The encodings a camera can be configured for.
const (
	JPEG Encoding = "jpeg"
	PNG  Encoding = "png"
	Raw  Encoding = "raw" // rows of pixels without padding, see Header.PixelFormat
)

// PixelBGR24 is the pixel format of raw images: 3 bytes a pixel, blue first.
const PixelBGR24 = "bgr24"

// Header travels in front of every image. Times are Unix microseconds.
type Header struct {
	Camera      string          `json:"camera"`
	ID          ID              `json:"id"` // "" on error replies
	Status      Status          `json:"status"`
	Error       string          `json:"error,omitempty"`
	Encoding    Encoding        `json:"encoding,omitempty"`
	PixelFormat string          `json:"pixel_format,omitempty"` // raw only
	Width       int             `json:"width,omitempty"`
	Height      int             `json:"height,omitempty"`
	Bytes       int             `json:"bytes"`                  // length of the image
	CRC32C      string          `json:"crc32c,omitempty"`       // of the image, 8 hex digits
	CapturedUS  int64           `json:"captured_us,omitempty"`  // when the frame was exposed
	RequestedUS int64           `json:"requested_us,omitempty"` // when the request reached the agent
	PublishedUS int64           `json:"published_us,omitempty"` // when the agent handed the frame to Redis
	SensorSeq   uint64          `json:"sensor_seq,omitempty"`   // the driver's frame counter
	Request     json.RawMessage `json:"request,omitempty"`      // the request object, echoed whole

	// Of a "dropped" entry: the lost IDs, both ends included.
	First  ID     `json:"first,omitzero"`
	Last   ID     `json:"last,omitzero"`
	Count  uint64 `json:"count,omitempty"`
	Reason string `json:"reason,omitempty"`

	// Of a "started" entry: the last ID known to be durable before this epoch
	// ("" when there is none), and whether the agent had ended in order.
	Previous *ID   `json:"previous,omitempty"`
	Clean    *bool `json:"clean,omitempty"`
}

// RequestID is the id of the request that is answered; "" if it has none.
func (h *Header) RequestID() string {
	var key struct {
		ID string `json:"id"`
	}
	if len(h.Request) == 0 || Decode(h.Request, &key) != nil {
		return ""
	}
	return key.ID
}

// IsZero lets encoding/json leave a zero ID out where the tag has omitzero.
var _ interface{ IsZero() bool } = ID{}

// ParseHeader reads one header. Unknown keys are ignored.
func ParseHeader(data []byte) (Header, error) {
	var h Header
	if err := Decode(data, &h); err != nil {
		return Header{}, fmt.Errorf("parse header: %w", err)
	}
	switch h.Status {
	case StatusOK, StatusError, StatusDropped, StatusStarted:
	default:
		return Header{}, fmt.Errorf("parse header: status %.40q, expected ok, error, dropped or started", h.Status)
	}
	if h.Bytes < 0 || h.Width < 0 || h.Height < 0 {
		return Header{}, fmt.Errorf("parse header: negative size (bytes %d, width %d, height %d)", h.Bytes, h.Width, h.Height)
	}
	return h, nil
}
