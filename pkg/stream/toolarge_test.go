package stream

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/rs/zerolog"

	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/linktest"
	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/frame"
)

// An entry that is longer than any frame costs no memory and counts as lost; many
// entries that are longer than those before come one by one, and none is lost.
func TestConsumerReadsPastWhatIsTooLarge(t *testing.T) {
	testkit.NeedRedis(t)
	server := redistest.Start(t)
	ctx, c := context.Background(), server.Client()
	add := func(seq, bytes int) {
		id := frame.ID{Epoch: 1, Seq: uint64(seq)}
		m, err := frame.NewMessage(frame.Header{Camera: "testcam", ID: id, Status: frame.StatusOK}, []byte(strings.Repeat("x", bytes)))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Do(ctx, append([]any{"XADD", testKey, id.String()}, m.Entry()...)...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	const small, large = 60, 40
	for i := 1; i <= small; i++ {
		add(i, 1000)
	}
	for i := small + 1; i <= small+large; i++ {
		add(i, 900_000)
	}
	add(small+large+1, 20<<20)
	add(small+large+2, 1000)
	var got atomic.Int64
	consumer := NewConsumer(ConsumerConfig{Key: testKey, FromStart: true, Log: zerolog.Nop(), Handle: func(_ context.Context, m *frame.Message) error {
		if n := int64(len(m.Image())); n != 1000 && n != 900_000 {
			return fmt.Errorf("an image of %d bytes", n)
		}
		got.Add(1)
		return nil
	}})
	l := linktest.Listen(t, testkit.Fast(server.URL()), func(c *datatransfer.LinkConfig) {
		c.MaxMessage, c.MaxReply = 1<<20, 1<<20
		c.Workers = []datatransfer.Worker{consumer.Worker()}
	})
	testkit.Eventually(t, "all frames that can be used are read", func() bool { return got.Load() == small+large+1 })
	testkit.Eventually(t, "the other is counted", func() bool { return consumer.Stats().Corrupt == 1 })
	if s := consumer.Stats(); s.Undeclared != 0 || s.Delivered != small+large+1 || l.Status().TooLarge == 0 {
		t.Errorf("got %+v, and %d values too large", s, l.Status().TooLarge)
	}
	if out := l.Log.String(); strings.Count(out, "A value in Redis is too large and is left out") != 1 {
		t.Errorf("what is too large is not logged once:\n%s", out)
	}
}
