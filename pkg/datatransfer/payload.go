package datatransfer

import (
	"unsafe"

	"github.com/redis/go-redis/v9"
)

// payload is the message's bytes without copying them: go-redis made the
// string for this message alone and drops it after the handler has it.
func payload(m *redis.Message) []byte {
	if m.Payload == "" {
		return nil
	}
	return unsafe.Slice(unsafe.StringData(m.Payload), len(m.Payload))
}
