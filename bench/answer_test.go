package bench

import (
	"context"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/outbox"
	"framekeeper/pkg/rpc"
)

const asksAtOnce = 50 // in a row, before the other side has its turn

// BenchmarkAnswer is request → answer of 161 KB through the whole agent side,
// with its entry in the stream, against an echo by bare go-redis.
func BenchmarkAnswer(b *testing.B) {
	s := server(b)
	image := picture()
	a := newAsker(b, s)
	var took, floor time.Duration
	for b.Loop() {
		stop := bareEcho(b, s, image)
		a.ask(b, 5)
		floor += a.ask(b, asksAtOnce)
		stop()
		stop = agentSide(b, s, image)
		a.ask(b, 5)
		took += a.ask(b, asksAtOnce)
		stop()
	}
	report(b, took, floor, b.N*asksAtOnce)
}

// bareEcho answers each request with the image, and that is all.
func bareEcho(b *testing.B, s *redistest.Server, image []byte) (stop func()) {
	b.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	client := s.Client()
	sub := client.Subscribe(ctx, requests)
	if _, err := sub.Receive(ctx); err != nil {
		b.Fatal(err)
	}
	done := make(chan struct{})
	go func() { // stop joins it
		defer close(done)
		for {
			if _, err := sub.ReceiveMessage(ctx); err != nil {
				return
			}
			if err := client.Publish(ctx, streamName, image).Err(); err != nil {
				return
			}
		}
	}()
	return func() {
		cancel()
		_ = sub.Close() // ends what ReceiveMessage waits for
		<-done
	}
}

// agentSide is cam-agent without its camera: every request gets the image.
func agentSide(b *testing.B, s *redistest.Server, image []byte) (stop func()) {
	b.Helper()
	s.Do("DEL", framesKey)
	o := newOutbox()
	p := outbox.NewPublisher(outbox.PublisherConfig{Topic: streamName, Limit: 32 << 20, Log: zerolog.Nop()}, o)
	nop := zerolog.Nop()
	r := rpc.NewServer(rpc.ServerConfig[frame.Request, *outbox.Item]{
		What: "request", Rate: 1e6, Log: func() *zerolog.Logger { return &nop },
		Parse: func(payload []byte, _ frame.Request) (frame.Request, error) { return frame.ParseRequest(payload) },
		ID:    func(r frame.Request) string { return r.ID }, Publish: p.Answer,
		Refuse: func(_ frame.Request, _ time.Time, reason error) (*outbox.Item, error) { return nil, reason },
	})
	workers := append(p.Workers(), newStreamWriter(o).Worker())
	unlink := live(b, s.URL(), datatransfer.LinkConfig{
		Workers: workers, Subscriptions: []datatransfer.Subscription{{Channel: requests, Handle: func(payload []byte, arrived time.Time) {
			r.Handle(payload, arrived, frame.Request{})
		}}},
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { // stop joins it
		defer close(done)
		for {
			select {
			case <-r.Arrived():
			case <-ctx.Done():
				return
			}
			for _, asked := range r.Take(func(rpc.Pending[frame.Request]) bool { return true }) {
				item, err := o.Add(outbox.Options{Answer: true}, build(image))
				if err != nil {
					b.Error(err)
					return
				}
				r.Answer(asked, item)
			}
		}
	}()
	return func() { cancel(); <-done; unlink() }
}
