package spool

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"framekeeper/pkg/frame"
)

var benchSizes = []int{20_000, 160_000}

// sequence is n messages of one size; building them is not what is measured.
func sequence(n, size int) []*frame.Message {
	all := make([]*frame.Message, n)
	for i := range all {
		all[i] = message(id(1, uint64(i+1)), size)
	}
	return all
}

// rawWrite is the floor: the same bytes into one file, fdatasync at the same points.
func rawWrite(b *testing.B, path string, all []*frame.Message, every int) time.Duration {
	b.Helper()
	start := time.Now()
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	for i, m := range all {
		if _, err := f.Write(m.Wire()); err != nil {
			b.Fatal(err)
		}
		if (i+1)%every == 0 || i == len(all)-1 {
			if err := f.Sync(); err != nil {
				b.Fatal(err)
			}
		}
	}
	took := time.Since(start)
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	return took
}

// rawFiles is the floor for one file per frame: neither checksum nor rename nor sync.
func rawFiles(b *testing.B, dir string, all []*frame.Message) time.Duration {
	b.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil {
		b.Fatal(err)
	}
	start := time.Now()
	for _, m := range all {
		if err := os.WriteFile(filepath.Join(dir, fileName(m.Header.ID)), m.Wire(), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(start)
}

// BenchmarkPut writes 200 frames, in the groups that sync = "always" (1), 30
// fps (3 in 100 ms) and a backlog leaving memory (100) give, and the same bytes
// to one file. x-raw is how many times longer the spool takes, x-unsynced-files
// how many times longer than plain files that are never synced.
func BenchmarkPut(b *testing.B) {
	for _, size := range benchSizes {
		all := sequence(200, size)
		for _, every := range []int{1, 3, 100} {
			b.Run(fmt.Sprintf("%dkB/sync-every-%d", size/1000, every), func(b *testing.B) {
				var spooled, raw, plain time.Duration
				b.SetBytes(int64(len(all) * all[0].Size()))
				for b.Loop() {
					dir := b.TempDir()
					raw += rawWrite(b, filepath.Join(dir, "raw"), all, every)
					plain += rawFiles(b, filepath.Join(dir, "files"), all)
					s := mustOpen(b, config(filepath.Join(dir, "spool")))
					start := time.Now()
					for i, m := range all {
						mustPut(b, s, m)
						if (i+1)%every == 0 || i == len(all)-1 {
							mustSync(b, s)
						}
					}
					spooled += time.Since(start)
					mustClose(b, s)
				}
				perSecond(b, "spool-MB/s", len(all)*size*b.N, spooled)
				perSecond(b, "raw-MB/s", len(all)*size*b.N, raw)
				b.ReportMetric(float64(spooled)/float64(raw), "x-raw")
				b.ReportMetric(float64(spooled)/float64(plain), "x-unsynced-files")
			})
		}
	}
}

func perSecond(b *testing.B, unit string, bytes int, took time.Duration) {
	b.ReportMetric(float64(bytes)/1e6/took.Seconds(), unit)
}

// BenchmarkGet drains 200 frames in batches of 16, checked and removed, and
// reads the same bytes from one file into new buffers. Both come from the page cache.
func BenchmarkGet(b *testing.B) {
	for _, size := range benchSizes {
		all := sequence(200, size)
		b.Run(fmt.Sprintf("%dkB", size/1000), func(b *testing.B) {
			var drained, raw time.Duration
			for b.Loop() {
				dir := b.TempDir()
				rawWrite(b, filepath.Join(dir, "raw"), all, len(all))
				raw += rawRead(b, filepath.Join(dir, "raw"), all)
				s := mustOpen(b, config(filepath.Join(dir, "spool")))
				for _, m := range all {
					mustPut(b, s, m)
				}
				mustSync(b, s)
				drained += drain(b, s, len(all))
				mustClose(b, s)
			}
			perSecond(b, "spool-MB/s", len(all)*size*b.N, drained)
			perSecond(b, "raw-MB/s", len(all)*size*b.N, raw)
			b.ReportMetric(float64(drained)/float64(raw), "x-raw")
		})
	}
}

func drain(b *testing.B, s *Spool, want int) time.Duration {
	b.Helper()
	start, n := time.Now(), 0
	for last := (frame.ID{}); ; {
		ids := s.IDs(last, 16)
		if len(ids) == 0 {
			break
		}
		for _, i := range ids {
			if _, err := s.Get(i); err != nil {
				b.Fatal(err)
			}
			n++
		}
		last = ids[len(ids)-1]
		if err := s.Remove(last); err != nil {
			b.Fatal(err)
		}
	}
	if n != want {
		b.Fatalf("drained %d frames, want %d", n, want)
	}
	return time.Since(start)
}

func rawRead(b *testing.B, path string, all []*frame.Message) time.Duration {
	b.Helper()
	start := time.Now()
	f, err := os.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for _, m := range all {
		if _, err := io.ReadFull(f, make([]byte, m.Size())); err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(start)
}

// BenchmarkOpen opens a spool of 50,000 small files: what 1 GiB of 20 kB frames are.
func BenchmarkOpen(b *testing.B) {
	const count = 50_000
	dir := b.TempDir()
	for seq := range uint64(count) {
		p := filepath.Join(dir, "1", placeOf(id(1, seq+1)).blockName())
		if seq == 0 || (seq+1)%blockFrames == 0 {
			if err := os.MkdirAll(p, 0o755); err != nil {
				b.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(p, fileName(id(1, seq+1))), make([]byte, 100), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		s := mustOpen(b, config(dir))
		if n := s.Stats().Frames; n != count {
			b.Fatalf("%d frames are held, want %d", n, count)
		}
		s.inherited = false // closing is not what is measured
		mustClose(b, s)
	}
}
