package bench

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/outbox"
	"framekeeper/pkg/spool"
)

const (
	group    = 32  // frames written before a sync
	backlog  = 320 // frames to drain: 51 MB
	pipeline = 16  // XADDs in one pipeline
)

func messages(b *testing.B, n int) []*frame.Message {
	b.Helper()
	image := picture()
	all := make([]*frame.Message, n)
	for i := range all {
		m, err := build(image)(frame.ID{Epoch: 1, Seq: uint64(i + 1)})
		if err != nil {
			b.Fatal(err)
		}
		all[i] = m
	}
	return all
}

func openSpool(b *testing.B, dir string) *spool.Spool {
	b.Helper()
	s, _, err := spool.Open(spool.Config{Dir: dir, MaxBytes: 1 << 30, Log: zerolog.Nop()})
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// put writes messages as the Spooler does, in groups that are synced.
func put(b *testing.B, s *spool.Spool, all []*frame.Message) {
	b.Helper()
	for i, m := range all {
		if _, err := s.Put(m); err != nil {
			b.Fatal(err)
		}
		if (i+1)%group == 0 || i == len(all)-1 {
			if _, err := s.Sync(); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkSpoolWrite is a file per frame, durable in groups, against the same
// bytes in one file that is synced as often.
func BenchmarkSpoolWrite(b *testing.B) {
	const groups = 4
	all := messages(b, groups*group)
	var took, floor time.Duration
	for b.Loop() {
		dir := b.TempDir()
		floor += rawWrite(b, filepath.Join(dir, "raw"), all)
		s := openSpool(b, filepath.Join(dir, "spool"))
		began := time.Now()
		put(b, s, all)
		took += time.Since(began)
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		if err := os.RemoveAll(dir); err != nil {
			b.Fatal(err)
		}
	}
	report(b, took, floor, b.N*len(all))
}

func rawWrite(b *testing.B, path string, all []*frame.Message) time.Duration {
	b.Helper()
	began := time.Now()
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	for i, m := range all {
		if _, err := f.Write(m.Wire()); err != nil {
			b.Fatal(err)
		}
		if (i+1)%group == 0 {
			if err := f.Sync(); err != nil {
				b.Fatal(err)
			}
		}
	}
	took := time.Since(began)
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	return took
}

// BenchmarkDrain is a backlog from disk into the stream, against pipelines of
// XADD with the same bytes from memory and nothing else.
func BenchmarkDrain(b *testing.B) {
	srv := server(b)
	all := messages(b, backlog)
	var took, floor time.Duration
	for b.Loop() {
		srv.Do("DEL", framesKey)
		floor += bareDrain(b, srv, all)
		srv.Do("DEL", framesKey)
		took += drain(b, srv, all)
	}
	report(b, took, floor, b.N*backlog)
}

func bareDrain(b *testing.B, srv *redistest.Server, all []*frame.Message) time.Duration {
	b.Helper()
	ctx := context.Background()
	client := srv.Client()
	began := time.Now()
	for i := 0; i < len(all); i += pipeline {
		_, err := client.Pipelined(ctx, func(p redis.Pipeliner) error {
			for _, m := range all[i:min(i+pipeline, len(all))] {
				p.XAdd(ctx, &redis.XAddArgs{
					Stream: framesKey, ID: m.Header.ID.String(), MaxLen: 400, Approx: true,
					Values: []any{"header", m.HeaderJSON(), "image", m.Image()},
				})
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(began)
}

func drain(b *testing.B, srv *redistest.Server, all []*frame.Message) time.Duration {
	b.Helper()
	dir := b.TempDir()
	s := openSpool(b, dir)
	put(b, s, all)
	o := outbox.NewLog(outbox.LogConfig{Camera: cameraName, Epoch: 2, Limit: 32 << 20, Stream: 64 << 20, Log: zerolog.Nop()})
	sp := outbox.NewSpooler(o, s, nil, zerolog.Nop())
	ctx, cancel := context.WithCancel(context.Background())
	kept := make(chan error, 1)
	go func() { kept <- sp.Run(ctx) }()

	wait, enough := context.WithTimeout(ctx, patient)
	defer enough()
	began := time.Now()
	stop := live(b, srv.URL(), datatransfer.LinkConfig{
		Subscriptions: []datatransfer.Subscription{{Channel: requests, Handle: func([]byte, time.Time) {}}},
		Workers:       []datatransfer.Worker{newStreamWriter(o).Worker()},
	})
	if err := o.Flush(wait); err != nil {
		b.Fatal(err)
	}
	took := time.Since(began)
	stop()
	cancel()
	<-kept
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	return took
}
