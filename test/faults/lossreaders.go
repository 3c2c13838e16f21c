package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/stream"
)

// laggard is a reader that can be held back.
type laggard struct {
	*watcher

	gate chan struct{} // holds a token unless the reader is held back
}

// lag starts a reader and holds it back after the first entries.
func (s *scene) lag() *laggard {
	l := &laggard{watcher: &watcher{changed: make(chan struct{})}, gate: make(chan struct{}, 1)}
	l.release()
	l.consumer = stream.NewConsumer(stream.ConsumerConfig{
		Key: "frames:" + cameraName, FromStart: true, Log: zerolog.Nop(),
		Handle: func(ctx context.Context, m *frame.Message) error {
			select {
			case <-l.gate:
				defer l.release()
				return l.take(ctx, m)
			case <-ctx.Done():
				return ctx.Err()
			}
		},
	})
	s.join(l.watcher, datatransfer.LinkConfig{Name: "laggard", Workers: []datatransfer.Worker{l.consumer.Worker()}})
	if !l.await(s.ctx, startLimit, func() bool { return len(l.shots) >= 5 }) {
		s.Fatalf("the laggard reads nothing")
	}
	l.hold()
	s.laggard = l
	return l
}

func (l *laggard) hold() { <-l.gate }

func (l *laggard) release() { l.gate <- struct{}{} }

// join runs a link until the row ends.
func (s *scene) join(w *watcher, cfg datatransfer.LinkConfig) {
	cfg.Redis, cfg.Log = s.way, zerolog.Nop()
	w.link = datatransfer.NewLink(cfg)
	ctx, cancel := context.WithCancel(s.ctx)
	w.wg.Go(func() { _ = w.link.Run(ctx) })
	s.Cleanup(func() { cancel(); w.wg.Wait() })
}

// listener notes what is published: the answers.
type listener struct {
	mu     sync.Mutex // guards all below
	heard  map[frame.ID]int64
	tops   map[uint64]uint64
	reused []frame.ID
}

func (s *scene) listen() *listener {
	l := &listener{heard: map[frame.ID]int64{}, tops: map[uint64]uint64{}}
	s.join(&watcher{}, datatransfer.LinkConfig{
		Name:          "listener",
		Subscriptions: []datatransfer.Subscription{{Channel: "stream/" + cameraName, Handle: l.take}},
	})
	return l
}

func (l *listener) take(payload []byte, _ time.Time) {
	m, err := frame.ParseMessage(payload)
	if err != nil || m.Header.Status != frame.StatusOK {
		return
	}
	id := m.Header.ID
	l.mu.Lock()
	defer l.mu.Unlock()
	if before, known := l.heard[id]; known && before != m.Header.CapturedUS {
		l.reused = append(l.reused, id)
	}
	l.heard[id] = m.Header.CapturedUS
	l.tops[id.Epoch] = max(l.tops[id.Epoch], id.Seq)
}

// top is the highest ID of an epoch that was heard.
func (l *listener) top(epoch uint64) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tops[epoch]
}

// reused names IDs that two different frames bear, and epochs that began twice
// or went down.
func (s *scene) reused() (problems []string) {
	s.listener.mu.Lock()
	defer s.listener.mu.Unlock()
	for _, id := range s.listener.reused {
		problems = append(problems, fmt.Sprintf("two answers bear the ID %s", id))
	}
	began := map[uint64]bool{}
	for _, shot := range s.watcher.seen() {
		at, known := s.listener.heard[shot.id]
		if shot.status == frame.StatusOK && known && at != shot.captured.UnixMicro() {
			problems = append(problems, fmt.Sprintf("the stream's %s is another frame than the answer of that ID", shot.id))
		}
		if shot.status == frame.StatusStarted {
			if began[shot.id.Epoch] {
				problems = append(problems, fmt.Sprintf("epoch %d began twice", shot.id.Epoch))
			}
			for epoch := range began {
				if epoch > shot.id.Epoch {
					problems = append(problems, fmt.Sprintf("epoch %d began after %d", shot.id.Epoch, epoch))
				}
			}
			began[shot.id.Epoch] = true
		}
	}
	return problems
}

// clientProgram is where the client is built, for the rows that stop it.
func (b binaries) client() string { return filepath.Join(b.dir, "client") }

func (o *options) buildClient() error {
	cmd := exec.CommandContext(o.ctx, "go", "build", "-o", o.bin.client(), "framekeeper/cmd/client")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build client: %w\n%s", err, strings.TrimSpace(string(text)))
	}
	return nil
}

var errNoSummary = errors.New("the client printed no such figure")

// clientFigure reads one row of what "client run" printed at its end.
func clientFigure(file, label string) (n uint64, err error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, fmt.Errorf("read summary: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, label+" "); ok {
			_, err := fmt.Sscan(rest, &n)
			return n, err
		}
	}
	return 0, fmt.Errorf("%w: %s", errNoSummary, label)
}
