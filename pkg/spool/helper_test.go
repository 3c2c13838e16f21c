package spool

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/pkg/frame"
)

// The test binary is also the process that gets killed.
func TestMain(m *testing.M) {
	if os.Getenv("SPOOL_TEST_WRITER") != "" {
		if err := writeUntilKilled(); err != nil {
			fmt.Println("E", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func id(epoch, seq uint64) frame.ID { return frame.ID{Epoch: epoch, Seq: seq} }

// message is the same for the same arguments, in every process.
func message(id frame.ID, size int) *frame.Message {
	image := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(id.Seq), byte(id.Seq >> 8), byte(id.Epoch)}).Read(image)
	m, err := frame.NewMessage(frame.Header{Camera: "greencam1", ID: id, Status: frame.StatusOK, Encoding: frame.JPEG}, image)
	if err != nil {
		panic(err) // a test's own mistake
	}
	return m
}

// config has bounds that no test meets by accident.
func config(dir string) Config {
	return Config{Dir: dir, MaxBytes: 1 << 30, MinFree: -1, Log: zerolog.Nop()}
}

func mustOpen(t testing.TB, cfg Config) *Spool {
	t.Helper()
	s, losses, err := Open(cfg)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if len(losses) > 0 {
		t.Fatalf("open lost %v, want nothing", losses)
	}
	return s
}

func mustClose(t testing.TB, s *Spool) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
}

func mustPut(t testing.TB, s *Spool, m *frame.Message) []Loss {
	t.Helper()
	losses, err := s.Put(m)
	if err != nil {
		t.Fatalf("put %s: %v", m.Header.ID, err)
	}
	return losses
}

func mustSync(t testing.TB, s *Spool) {
	t.Helper()
	if losses, err := s.Sync(); err != nil || len(losses) > 0 {
		t.Fatalf("sync: lost %v, %v", losses, err)
	}
}

// mustHold fails unless the frame reads back as m, to the byte.
func mustHold(t testing.TB, s *Spool, m *frame.Message) {
	t.Helper()
	got, err := s.Get(m.Header.ID)
	if err != nil {
		t.Fatalf("get: %v", err)
	}
	if !bytes.Equal(got.Wire(), m.Wire()) || got.Header.ID != m.Header.ID {
		t.Fatalf("frame %s reads back as another of %d bytes, want %d", m.Header.ID, got.Size(), m.Size())
	}
}

func allIDs(s *Spool) []frame.ID { return s.IDs(frame.ID{}, 1<<30) }

// lostIDs is every ID the losses name, in the order reported.
func lostIDs(t testing.TB, losses []Loss) []frame.ID {
	t.Helper()
	var ids []frame.ID
	for _, l := range losses {
		if l.First.Epoch != l.Last.Epoch || l.Last.Less(l.First) || l.Reason == "" {
			t.Fatalf("impossible loss %+v", l)
		}
		for i := l.First; !l.Last.Less(i); i = i.Next() {
			ids = append(ids, i)
		}
	}
	return ids
}

// files lists what is below dir, directories with a slash behind.
func fileNames(t testing.TB, dir string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name := strings.TrimPrefix(path, dir+"/")
		if d.IsDir() {
			name += "/"
		}
		names = append(names, name)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// diskBytes is what the frames' files take, as the spool counts it.
func diskBytes(t testing.TB, dir string) (n int64) {
	t.Helper()
	for _, name := range fileNames(t, dir) {
		if strings.HasSuffix(name, suffix) && !strings.HasPrefix(name, quarantineName) {
			info, err := os.Stat(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			n += (info.Size() + 4095) / 4096 * 4096
		}
	}
	return n
}

// clock is a wall clock that tests turn.
type clock struct{ t time.Time }

func newClock() *clock { return &clock{time.Now().Round(0)} }

func (c *clock) now() time.Time          { return c.t }
func (c *clock) advance(d time.Duration) { c.t = c.t.Add(d) }
