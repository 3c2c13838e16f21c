package outbox

import (
	"framekeeper/internal/testkit/linktest"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/stream"

	"github.com/rs/zerolog"

	"context"
	"math/rand/v2"
	"testing"
	"time"

	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/redisconn"
)

// Under OOM even an XADD that trims is refused. Reading works, and must not be
// taken for a sign that writing does.
func TestOutOfMemoryTrimsOurOwnStream(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	w := newWriter(t, testkit.Unhurried(server.URL()), 100, 1<<20, func(a *StreamWriter) { a.patience = 1500 * time.Millisecond })
	w.add(t, 40)
	w.drain(t)
	server.ConfigSet("maxmemory", "1")
	w.add(t, 3)
	testkit.Eventually(t, "OOM shows", func() bool { return w.writer.Status().Cause == redisconn.CauseOOM })
	testkit.Eventually(t, "our stream is trimmed", func() bool {
		s := w.writer.Status()
		if s.Writable {
			t.Errorf("the status is writable while nothing can be written: %+v", s)
		}
		return s.Trimmed > 0 || t.Failed()
	})
	if n := server.Client().XLen(context.Background(), testKey).Val(); n < 15 || n > 25 {
		t.Errorf("the stream holds %d entries, want about half of 41", n)
	}
	server.ConfigSet("maxmemory", "0")
	w.drain(t)
	testkit.Eventually(t, "writing is noted", func() bool { return w.writer.Status().Writable })
	if n := testkit.Count(w.agent.Messages(), "Redis does not accept frames; they wait in the log"); n != 1 {
		t.Errorf("the refusal was logged %d times, want once", n)
	}
	if n := testkit.Count(w.agent.Messages(), "Redis accepts frames again"); n != 1 {
		t.Errorf("its end was logged %d times, want once", n)
	}
	if s := w.Status(); s.Outages != 0 {
		t.Errorf("the link was lost %d times by OOM, want never", s.Outages)
	}
}

// Frames that Redis rejects must not fill the memory while they are tried.
func TestRefusedFramesStayInTheirBound(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	const limit = 100_000
	w := newWriter(t, testkit.Unhurried(server.URL()), 100, limit)
	w.add(t, 3)
	w.drain(t)
	server.Do("DEL", testKey)
	server.Do("SET", testKey, "not a stream")
	for end := time.Now().Add(1200 * time.Millisecond); time.Now().Before(end); {
		w.add(t, 20)
		if s := w.frames.Stats(); s.MemorySize > limit+2000 {
			t.Fatalf("%d bytes are in memory, want at most %d", s.MemorySize, limit)
		}
		time.Sleep(10 * time.Millisecond)
	}
	if s := w.writer.Status(); s.Writable || s.Cause != redisconn.CauseServer {
		t.Errorf("status %+v, want not writable because of the wrong type", s)
	}
	if s := w.Status(); s.Outages != 0 {
		t.Errorf("the link was lost %d times by a wrong type, want never", s.Outages)
	}
	server.Do("DEL", testKey)
	w.drain(t)
	s := w.frames.Stats()
	if s.Dropped == 0 || s.Sent+s.Dropped != s.Added {
		t.Errorf("%+v, want some dropped, and with the sent ones all", s)
	}
	expectNothingUndeclared(t, server.Client(), s.Newest.Seq)
}

// Everything that can happen to a batch, while frames go on being added: the
// stream has each once and in order, because the agent still has them all.
func TestNothingIsLostUnderRandomFaults(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	proxy := redistest.NewProxy(t, server.Addr())
	w := newWriter(t, testkit.Fast(proxy.URL()), 100, 64<<20)
	consumer := stream.NewConsumer(stream.ConsumerConfig{
		Key: testKey, FromStart: true, Log: zerolog.Nop(), Handle: func(context.Context, *frame.Message) error { return nil },
	})
	linktest.Listen(t, testkit.Fast(server.URL()), func(c *datatransfer.LinkConfig) { c.Workers = []datatransfer.Worker{consumer.Worker()} })
	w.AwaitLive(t)
	ctx, cancel := context.WithCancel(context.Background())
	fed := make(chan struct{})
	go func() {
		defer close(fed)
		for ctx.Err() == nil {
			w.add(t, 3)
			time.Sleep(2 * time.Millisecond)
		}
	}()
	rnd := rand.New(rand.NewPCG(1, 2))
	pause := func() { time.Sleep(time.Duration(rnd.IntN(150)) * time.Millisecond) }
	faults := []func(){
		proxy.CutAll,
		proxy.ResetAll,
		func() { proxy.LoseReplyAfter([]byte("exec")) },
		func() { proxy.CutAfter(redistest.ToServer, int64(rnd.IntN(60_000))) },
		func() { server.KillClients("normal") },
		func() { server.ConfigSet("maxmemory", "1"); pause(); server.ConfigSet("maxmemory", "0") },
		func() { server.Kill(); pause(); server.Restart() },
	}
	for range 3 {
		for _, i := range rnd.Perm(len(faults)) {
			faults[i]()
			pause()
		}
	}
	server.Do("DEL", testKey) // under a live session, between two batches or within one
	pause()
	server.Do("FLUSHALL")
	cancel()
	<-fed
	w.add(t, 1) // a stream that is gone is noticed with the next frame
	w.drain(t)
	n := w.frames.Stats().Newest.Seq
	expect(t, statuses(t, server.Client()), append([]string{"started"}, series(1, int(n))...)...)
	testkit.Eventually(t, "the consumer has read it all", func() bool { return consumer.Stats().Watermark == id(100, n) })
	if s := consumer.Stats(); s.Delivered != n || s.Undeclared+s.Declared+s.Trimmed+s.Duplicates+s.Corrupt != 0 {
		t.Errorf("the consumer counts %+v, want %d delivered and nothing else", s, n)
	}
}
