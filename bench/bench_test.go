// Package bench compares the ways of a frame with the least that they could
// cost on the same machine in the same run. Each benchmark reports a ratio;
// that is what counts, for the times are those of this machine at this moment.
//
//	go test -bench . ./bench
package bench

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/outbox"
	"framekeeper/pkg/redisconn"
)

const (
	imageSize  = 161_000
	cameraName = "benchcam"
	framesKey  = "frames:" + cameraName
	streamName = "stream/" + cameraName
	requests   = "request/" + cameraName
	patient    = 30 * time.Second
)

// picture is bytes that do not compress, as a JPEG's do not.
func picture() []byte {
	random := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, imageSize)
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	return b
}

func build(image []byte) outbox.Build {
	sum := frame.Checksum(image)
	return func(id frame.ID) (*frame.Message, error) {
		return frame.NewMessage(frame.Header{Camera: cameraName, ID: id, Status: frame.StatusOK, Encoding: frame.JPEG, CRC32C: sum}, image)
	}
}

func server(b *testing.B) *redistest.Server {
	b.Helper()
	if err := redistest.Available(); err != nil {
		b.Skip(err)
	}
	redisconn.Quiet()
	return redistest.Start(b)
}

func newOutbox() *outbox.Log {
	return outbox.NewLog(outbox.LogConfig{Camera: cameraName, Epoch: 1, Limit: 32 << 20, Stream: 64 << 20, Log: zerolog.Nop()})
}

func newStreamWriter(o *outbox.Log) *outbox.StreamWriter {
	return outbox.NewStreamWriter(outbox.StreamWriterConfig{Key: framesKey, Log: zerolog.Nop()}, o)
}

// live runs a link and returns once it is LIVE. stop ends it.
func live(b *testing.B, url string, cfg datatransfer.LinkConfig) (stop func()) {
	b.Helper()
	cfg.Redis, cfg.Name, cfg.Log = redisconn.Default(), cameraName, zerolog.Nop()
	cfg.Redis.URL = url
	l := datatransfer.NewLink(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }() // stop joins it
	wait, enough := context.WithTimeout(ctx, patient)
	defer enough()
	if err := l.WaitLive(wait); err != nil {
		cancel()
		b.Fatal(errors.Join(err, <-done))
	}
	return func() { cancel(); <-done }
}

// asker sends requests and waits for what comes back, with bare go-redis.
type asker struct {
	client *redis.Client
	sub    *redis.PubSub
}

func newAsker(b *testing.B, s *redistest.Server) asker {
	b.Helper()
	a := asker{client: s.Client()}
	a.sub = a.client.Subscribe(context.Background(), streamName)
	if _, err := a.sub.Receive(context.Background()); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = a.sub.Close() })
	return a
}

// ask returns how long n answers took, one after the other.
func (a asker) ask(b *testing.B, n int) time.Duration {
	b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	defer cancel()
	began := time.Now()
	for range n {
		if err := a.client.Publish(ctx, requests, `{"angle":25}`).Err(); err != nil {
			b.Fatal(err)
		}
		m, err := a.sub.ReceiveMessage(ctx)
		if err != nil {
			b.Fatal(err)
		}
		if len(m.Payload) < imageSize {
			b.Fatalf("an answer of %d bytes, want %d at least", len(m.Payload), imageSize)
		}
	}
	return time.Since(began)
}

// report prints what one operation costs, and that as a multiple of the floor.
func report(b *testing.B, took, floor time.Duration, n int) {
	b.Helper()
	b.ReportMetric(float64(took.Microseconds())/float64(n), "µs/frame")
	b.ReportMetric(float64(floor.Microseconds())/float64(n), "µs/frame-floor")
	b.ReportMetric(float64(took)/float64(floor), "ratio")
	b.ReportMetric(0, "ns/op") // of both together: says nothing
}
