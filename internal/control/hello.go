package control

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// hello is what controllers say to each other on a box's control channel, so
// that two of one name notice each other. It is not answered but with a hello,
// and it needs no right on Redis that commands do not need.
type hello struct {
	Command string `json:"command"` // always "hello", and always first
	Identity
	Hears []string `json:"hears"`          // the instances of the others it has heard
	Ends  bool     `json:"ends,omitempty"` // it leaves the name
}

const (
	helloBegins = `{"command":"hello",`
	maxHello    = 8 << 10 // bytes; maxNamesakes fit well
)

// isHello tells a hello from commands by its beginning: only controllers write
// them, and always alike.
func isHello(payload []byte) bool { return bytes.HasPrefix(payload, []byte(helloBegins)) }

func (h *hello) encode() ([]byte, error) {
	h.Command = "hello"
	b, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("encode hello: %w", err)
	}
	return b, nil
}

// parseHello reads a hello; ok is false if it is none.
func parseHello(payload []byte) (h hello, ok bool) {
	if len(payload) > maxHello || json.Unmarshal(payload, &h) != nil || h.Instance == "" || len(h.Hears) > maxNamesakes {
		return hello{}, false
	}
	h.Instance, h.Host, h.Address = plain(h.Instance), plain(h.Host), plain(h.Address)
	return h, true
}
