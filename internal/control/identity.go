package control

import (
	"crypto/rand"
	"encoding/hex"
	"os"
	"strconv"
	"strings"
)

// Identity distinguishes controllers, above all those of one name. Boxes cloned
// from one SD card share the host name too, so that the address is what leads
// to them.
type Identity struct {
	Instance string `json:"instance,omitempty"` // of the process
	Host     string `json:"host,omitempty"`
	Address  string `json:"address,omitempty"` // its own, on the way to Redis; "" over a unix socket
	PID      int    `json:"pid,omitempty"`
}

// NewIdentity is this process's.
func NewIdentity() Identity {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails
	host, _ := os.Hostname()
	return Identity{Instance: hex.EncodeToString(b[:]), Host: plain(host), PID: os.Getpid()}
}

// Shown names a controller to people.
func (i Identity) Shown() string {
	var parts []string
	if i.Host != "" {
		parts = append(parts, "host "+i.Host)
	}
	if i.Address != "" {
		parts = append(parts, "address "+i.Address)
	}
	if i.PID > 0 {
		parts = append(parts, "pid "+strconv.Itoa(i.PID))
	}
	text := i.Instance
	if text == "" {
		text = "an older version"
	}
	if len(parts) > 0 {
		text += " (" + strings.Join(parts, ", ") + ")"
	}
	return text
}

// plain makes a name from outside one that can be shown anywhere.
func plain(s string) string {
	const most = 64
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune(".:-_%", r) {
			return r
		}
		return '?'
	}, s[:min(len(s), most)])
}
