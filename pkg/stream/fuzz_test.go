package stream

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/hostile"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/frame"
)

// commands are those whose answers a reader gets. "push" is no command: see hostile.Fake.
var commands = []string{"hello", "subscribe", "push", "publish", "xread", "xrange", "xautoclaim", "xreadgroup", "xack"}

// Whatever bytes a server answers to whatever a reader asks: the process goes on, memory
// and log stay small, and the end comes at once.
func FuzzReceive(f *testing.F) {
	entry := "*1\r\n*2\r\n$14\r\nframes:testcam\r\n*1\r\n*2\r\n$3\r\n7-1\r\n*4\r\n$6\r\nheader\r\n$40\r\n" +
		`{"camera":"testcam","id":"7-1","status":"ok"}`[:40] + "\r\n$5\r\nimage\r\n$1\r\nx\r\n"
	message := "*3\r\n$7\r\nmessage\r\n$14\r\nstream/testcam\r\n$5\r\n{}\nab\r\n"
	for i, c := range commands {
		for _, seed := range []string{"*0\r\n", "$9223372036854775807\r\n", entry, message, "*1\r\n*0\r\n", "-MOVED 1 :1\r\n", "+10000000\r\n", "+QUEUED\r\n:1\r\n$-1\r\n"} {
			f.Add(uint8(i), seed)
		}
		f.Add(uint8(i), c)
	}
	f.Fuzz(func(t *testing.T, which uint8, answer string) {
		fake := hostile.StartFake(t, commands[int(which)%len(commands)], answer)
		defer fake.Close()
		out := &testkit.Log{}
		log := zerolog.New(out)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		receiveFrom(t, fake, log)
		runtime.ReadMemStats(&after)
		// Each of a dozen sessions in that time may take what a reply may have, here 1 MiB.
		if taken := after.TotalAlloc - before.TotalAlloc; taken > 64<<20+100*uint64(len(answer)) {
			t.Errorf("%d bytes took %d MiB of memory", len(answer), taken>>20)
		}
		for line := range strings.Lines(out.String()) {
			if len(line) > 4096 || strings.ContainsAny(line, "\x1b\x00") {
				t.Errorf("a log line of %d bytes: %.400q", len(line), line)
			}
		}
	})
}

// receiveFrom runs a link with both consumers until the bytes were taken.
func receiveFrom(t *testing.T, fake *hostile.Fake, log zerolog.Logger) {
	handle := func(_ context.Context, m *frame.Message) error {
		_ = fmt.Sprint(m.Header.ID, len(m.HeaderJSON()), len(m.Image()))
		return nil
	}
	one := NewConsumer(ConsumerConfig{Key: testKey, From: frame.ID{Epoch: 7, Seq: 1}, Handle: handle, Log: log})
	group := NewGroupConsumer(GroupConfig{Key: testKey, Group: "g", Name: "w", Handle: handle, Log: log})
	link := datatransfer.NewLink(datatransfer.LinkConfig{
		Redis: testkit.Fast(fake.URL()), Name: "testcam", Log: log, MaxMessage: 1 << 20, MaxReply: 1 << 20,
		Workers: []datatransfer.Worker{one.Worker(), group.Worker()},
		Subscriptions: []datatransfer.Subscription{{Channel: "stream/testcam", Handle: func(p []byte, _ time.Time) {
			if m, err := frame.ParseMessage(p); err == nil {
				_ = handle(t.Context(), m)
			}
		}}},
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- link.Run(ctx) }()
	select {
	case <-fake.Taken:
	case <-time.After(30 * time.Millisecond): // nobody asked, or the answer is not whole
	}
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("the link returned %v, want nil", err)
		}
	case <-time.After(testkit.Patience):
		t.Fatalf("the link does not end within %s", testkit.Patience)
	}
}
