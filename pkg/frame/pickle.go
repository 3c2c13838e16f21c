package frame

import (
	"bytes"
	"encoding/json"
)

// The legacy wire: the Python system that Framekeeper replaces spoke pickle on
// its pub/sub channels. What is read here is data only: there is no way for a
// pickle to name a class or to have anything called, and the work one payload
// can cause is bounded by MaxRequestBytes and MaxRequestDepth, however often it
// refers to the same value.
//
// The reader is our own. github.com/kisielk/og-rek was tried and gives a list
// that is referred to twice as an empty one, without an error.

// ParsePickleRequest reads a request of the legacy wire: a pickled dict of
// plain values (protocols 0 to 5), or JSON. The result is what ParseRequest
// would have made of the same request in JSON, so everything behind it is one
// path. Tuples become lists; bytes become strings, as UTF-8 if they are that
// and as Latin-1 otherwise. Keys that are not strings, NaN, infinities,
// classes and calls are refused.
func ParsePickleRequest(data []byte) (Request, error) {
	if looksLikeJSON(data) {
		return ParseRequest(data)
	}
	if len(data) > MaxRequestBytes {
		return Request{}, refuse("%d bytes, at most %d are allowed", len(data), MaxRequestBytes)
	}
	root, err := readPickle(data)
	if err != nil {
		return Request{}, err
	}
	if root.kind != nodeDict {
		return Request{}, refuse("a pickled %s; expected a dict such as {'angle': 25}", root.kind)
	}
	object, err := pickleJSON(root)
	if err != nil {
		return Request{}, err
	}
	return ParseRequest(object)
}

// looksLikeJSON cannot take a pickle for JSON: those bytes are no opcodes, and
// every pickle ends with '.', which no JSON text does.
func looksLikeJSON(data []byte) bool {
	text := bytes.TrimLeft(data, " \t\r\n")
	if len(text) > 0 && bytes.IndexByte([]byte(`{["`), text[0]) >= 0 {
		return true
	}
	return len(data) <= MaxRequestBytes && depth(data) <= MaxRequestDepth && json.Valid(data)
}
