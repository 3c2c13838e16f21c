// Package pickle is the wire of the Python system that Framekeeper replaces: its
// requests and replies on pub/sub were pickled dicts. It promises that what it
// reads is data only: a pickle can name no class and have nothing called, and the
// work one payload causes is bounded by frame.MaxRequestBytes and
// frame.MaxRequestDepth, however often it refers to the same value. An agent uses
// it for a camera with wire = "pickle"; without this package only that setting is
// missing.
//
// The reader is our own. github.com/kisielk/og-rek was tried and gives a list
// that is referred to twice as an empty one, without an error.
package pickle

import (
	"bytes"
	"encoding/json"
	"fmt"

	"framekeeper/pkg/frame"
)

// ParseRequest reads a request of the old wire: a pickled dict of plain values
// (protocols 0 to 5), or JSON. The result is what frame.ParseRequest would have
// made of the same request in JSON, so everything behind it is one path. Tuples
// become lists; bytes become strings, as UTF-8 if they are that and as Latin-1
// otherwise. Keys that are not strings, NaN, infinities, classes and calls are
// refused; every refusal wraps frame.ErrRequest.
func ParseRequest(data []byte) (frame.Request, error) {
	if looksLikeJSON(data) {
		return frame.ParseRequest(data)
	}
	if len(data) > frame.MaxRequestBytes {
		return frame.Request{}, refuse("%d bytes, at most %d are allowed", len(data), frame.MaxRequestBytes)
	}
	root, err := load(data)
	if err != nil {
		return frame.Request{}, err
	}
	if root.kind != nodeDict {
		return frame.Request{}, refuse("a pickled %s; expected a dict such as {'angle': 25}", root.kind)
	}
	object, err := toJSON(root)
	if err != nil {
		return frame.Request{}, err
	}
	return frame.ParseRequest(object)
}

// looksLikeJSON cannot take a pickle for JSON: those bytes are no opcodes, and
// every pickle ends with '.', which no JSON text does.
func looksLikeJSON(data []byte) bool {
	text := bytes.TrimLeft(data, " \t\r\n")
	if len(text) > 0 && bytes.IndexByte([]byte(`{["`), text[0]) >= 0 {
		return true
	}
	return len(data) <= frame.MaxRequestBytes && json.Valid(data) // nothing nested: it begins with no bracket
}

func refuse(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{frame.ErrRequest}, args...)...)
}
