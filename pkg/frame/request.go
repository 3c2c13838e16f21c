package frame

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"
	"unicode/utf8"
)

// Bounds of a request. Beyond them it is refused with an error reply.
const (
	MaxRequestBytes = 64 << 10
	MaxRequestDepth = 32
	MaxRequestID    = 256              // bytes of the "id" key
	MaxTimeout      = 10 * time.Minute // of "timeout_ms"
	MaxAge          = time.Hour        // of "max_age_ms"
)

// ErrRequest is what every refusal of a request wraps.
var ErrRequest = errors.New("malformed request")

// Request is one parsed request. All its keys belong to the sender and are
// echoed; three of them mean something to the agent.
type Request struct {
	Object  json.RawMessage // the whole object on one line; nil if it was none
	ID      string          // "id": repeats of it get the same answer; "" if absent
	Timeout time.Duration   // "timeout_ms"; 0 if absent
	MaxAge  time.Duration   // "max_age_ms"; 0: the frame must be exposed after arrival
}

// ParseRequest reads a request as it arrives. It refuses one whose echo some JSON
// parser rejects, and then echoes nothing of it. When it fails otherwise, the
// Request still carries whatever could be read of Object and ID, so that the error
// reply can be matched to what was sent.
func ParseRequest(data []byte) (Request, error) {
	var r Request
	if len(data) > MaxRequestBytes {
		return r, refuse("%d bytes, at most %d are allowed", len(data), MaxRequestBytes)
	}
	if Depth(data) > MaxRequestDepth {
		return r, refuse("nested deeper than %d", MaxRequestDepth)
	}
	if !utf8.Valid(data) {
		return r, refuse("not valid UTF-8")
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, data); err != nil {
		return r, refuse("not JSON: %v; expected one object such as {\"angle\": 25}", err)
	}
	object := compact.Bytes()
	if len(object) == 0 || object[0] != '{' {
		return r, refuse("a JSON %s; expected one object such as {\"angle\": 25}", kind(object))
	}
	var keys map[string]json.RawMessage
	if err := Decode(object, &keys); err != nil {
		return r, refuse("not JSON: %v", err)
	}
	if err := portable(object); err != nil {
		return r, err
	}
	r.Object = object
	return r, r.reserved(keys)
}

func (r *Request) reserved(keys map[string]json.RawMessage) error {
	if v, ok := keys["id"]; ok {
		if kind(v) != "string" {
			return refuse("id is a %s, expected a string", kind(v))
		}
		if err := Decode(v, &r.ID); err != nil {
			return refuse("id: %v", err)
		}
		if len(r.ID) > MaxRequestID {
			r.ID = ""
			return refuse("id is longer than %d bytes", MaxRequestID)
		}
	}
	var err error
	if v, ok := keys["timeout_ms"]; ok {
		if r.Timeout, err = milliseconds("timeout_ms", v, time.Millisecond, MaxTimeout); err != nil {
			return err
		}
	}
	if v, ok := keys["max_age_ms"]; ok {
		if r.MaxAge, err = milliseconds("max_age_ms", v, 0, MaxAge); err != nil {
			return err
		}
	}
	return nil
}

func milliseconds(key string, v json.RawMessage, low, high time.Duration) (time.Duration, error) {
	if kind(v) != "number" {
		return 0, refuse("%s is a %s, expected a number of milliseconds", key, kind(v))
	}
	var ms float64
	if err := Decode(v, &ms); err != nil || math.IsNaN(ms) ||
		ms < float64(low)/1e6 || ms > float64(high)/1e6 {
		return 0, refuse("%s is %.40s, expected %d to %d", key, v, low.Milliseconds(), high.Milliseconds())
	}
	return time.Duration(ms * float64(time.Millisecond)), nil
}

func refuse(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrRequest}, args...)...)
}

// kind names the type of a compact JSON value.
func kind(v []byte) string {
	if len(v) == 0 {
		return "nothing"
	}
	switch v[0] {
	case '{':
		return "object"
	case '[':
		return "list"
	case '"':
		return "string"
	case 't', 'f':
		return "boolean"
	case 'n':
		return "null"
	default:
		return "number"
	}
}

// Depth counts how deep the brackets of a JSON text nest, without parsing, so that
// a hostile payload never reaches a recursive decoder.
func Depth(text []byte) int {
	deepest, now := 0, 0
	inString := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			now++
			deepest = max(deepest, now)
		case c == '}' || c == ']':
			now--
		}
	}
	return deepest
}

// NewRequestID makes a request ID: 48 bits of time, 80 of chance, in hexadecimal,
// so that IDs sort by age.
func NewRequestID() string {
	var b [18]byte
	binary.BigEndian.PutUint64(b[:8], uint64(time.Now().UnixMilli())) //nolint:gosec // after 1970
	_, _ = rand.Read(b[8:])                                           // never fails
	return hex.EncodeToString(b[2:])
}
