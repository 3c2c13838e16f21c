package redisconn

import (
	"context"
	"strings"
	"testing"

	"framekeeper/internal/testkit/redistest"
)

// The largest argument is one that the narrowest Redis takes; a little more, and it ends
// the connection.
func TestEveryRedisTakesTheLargestArgument(t *testing.T) {
	needRedis(t)
	t.Parallel()
	server := redistest.Start(t, redistest.WithConfig("proto-max-bulk-len", "1048576"), redistest.WithConfig("client-query-buffer-limit", "1048576"))
	c := client(t, at(server.URL()), Data)
	for _, size := range []int{MaxArgument, MaxArgument + 1, 2 << 20} {
		text := []byte(strings.Repeat("x", size))
		err := CheckArgument(text)
		if (err != nil) != (size > MaxArgument) {
			t.Errorf("%d bytes: got %v", size, err)
		}
		sent := c.Set(context.Background(), strings.Repeat("k", 1000), text, 0).Err()
		if err == nil && sent != nil || size == 2<<20 && sent == nil {
			t.Errorf("%d bytes: Redis says %v", size, sent)
		}
	}
}
