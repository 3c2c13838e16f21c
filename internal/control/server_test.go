package control

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// doer counts the effects.
type doer struct {
	mu    sync.Mutex // guards all
	began int
	done  []string
	block map[string]chan struct{} // by camera: a command waits until it is closed
}

func (d *doer) do(ctx context.Context, c Command) (any, error) {
	d.mu.Lock()
	d.began++
	wait := d.block[c.Camera]
	d.mu.Unlock()
	if wait != nil {
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.done = append(d.done, c.Name+" "+c.Camera)
	if c.Camera == "nocam" {
		return map[string]int{"n": len(d.done)}, errors.New("no such camera")
	}
	return map[string]int{"n": len(d.done)}, nil
}

func (d *doer) begun() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.began
}

func (d *doer) effects() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]string(nil), d.done...)
}

// tested is a server of box1 without rivals.
type tested struct {
	*Server
	rivals *Rivals
}

func newServer(t *testing.T, d *doer) *tested {
	t.Helper()
	nop := zerolog.Nop()
	log := func() *zerolog.Logger { return &nop }
	s := &tested{NewServer(d.do, log), NewRivals("box1", NewIdentity(), log)}
	s.rivals.announced(1, nil, time.Now())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run returned %v, want nil", err)
		}
	})
	return s
}

func (s *tested) send(format string, args ...any) {
	s.handle(fmt.Appendf(nil, format, args...), time.Now(), s.rivals)
}

// take waits for the next answer, as the link's worker does.
func (s *tested) take(t *testing.T) *Reply {
	t.Helper()
	var a *answer
	testkit.Eventually(t, "an answer", func() bool {
		a = s.answers.first()
		return a != nil
	})
	s.answers.published(a, nil)
	r, err := ParseReply(a.text)
	if err != nil || a.channel != "control-reply/box1" {
		t.Fatalf("got %v, for %s", err, a.channel)
	}
	return r
}

func (s *tested) quiet(t *testing.T) {
	t.Helper()
	if a := s.answers.first(); a != nil {
		t.Errorf("got another answer: %s", a.text)
	}
}

func TestAnswersOnceAndTheSame(t *testing.T) {
	d := &doer{block: map[string]chan struct{}{"cam1": make(chan struct{})}}
	s := newServer(t, d)
	const restart = `{"id":"1","command":"restart","camera":"cam1"}`
	s.send(restart)
	s.send(restart) // while the first is carried out
	close(d.block["cam1"])
	first := s.take(t)
	if first.ID != "1" || first.Status != OK || first.Command != Restart || first.Camera != "cam1" || string(first.Result) != `{"n":1}` {
		t.Errorf("got %+v", first)
	}
	s.quiet(t)
	s.send(restart)
	if again := s.take(t); again.TimeUS != first.TimeUS || string(again.Result) != `{"n":1}` {
		t.Errorf("a repeat: got %+v, want the first answer", again)
	}
	s.send(`{"id":"1","command":"stop","camera":"cam1"}`)
	if other := s.take(t); other.Status != Error || !strings.Contains(other.Error, "another command") || other.ID != "1" {
		t.Errorf("another command under the id: got %+v", other)
	}
	s.send(`{"id":"2","command":"stop","camera":"nocam"}`)
	if r := s.take(t); r.Status != Error || r.Error != "no such camera" || r.Result == nil {
		t.Errorf("got %+v, want an error with a result", r)
	}
	s.send(`{"id":"3","command":"jump"}`)
	if r := s.take(t); r.Status != Error || r.ID != "3" || !strings.Contains(r.Error, "there are") {
		t.Errorf("got %+v, want an error that lists the commands", r)
	}
	for range 2 { // without an id each is its own
		s.send(`{"command":"start","camera":"cam1"}`)
		s.take(t)
	}
	if got := d.effects(); strings.Join(got, ", ") != "restart cam1, stop nocam, start cam1, start cam1" {
		t.Errorf("got effects %v", got)
	}
}

// One camera that takes its time holds up its own commands only.
func TestOneCameraDoesNotHoldUpOthers(t *testing.T) {
	d := &doer{block: map[string]chan struct{}{"cam1": make(chan struct{})}}
	s := newServer(t, d)
	s.send(`{"id":"1","command":"restart","camera":"cam1"}`)
	s.send(`{"id":"2","command":"stop","camera":"cam1"}`)
	s.send(`{"id":"3","command":"stop","camera":"cam2"}`)
	if r := s.take(t); r.ID != "3" {
		t.Errorf("got %+v, want the other camera's answer", r)
	}
	s.send(`{"id":"4","command":"status"}`)
	if r := s.take(t); r.ID != "4" {
		t.Errorf("got %+v, want the status", r)
	}
	close(d.block["cam1"])
	if one, two := s.take(t), s.take(t); one.ID != "1" || two.ID != "2" {
		t.Errorf("got %s, %s, want them in the order of arrival", one.ID, two.ID)
	}
}

func TestTimeout(t *testing.T) {
	d := &doer{block: map[string]chan struct{}{"cam1": make(chan struct{})}}
	s := newServer(t, d)
	s.send(`{"id":"1","command":"restart","camera":"cam1","timeout_ms":10}`)
	if r := s.take(t); r.Status != Error || !strings.Contains(r.Error, "deadline") {
		t.Errorf("got %+v, want the command's own error", r)
	}
}

func TestBounds(t *testing.T) {
	d := &doer{block: map[string]chan struct{}{"cam1": make(chan struct{})}}
	s := newServer(t, d)
	now := time.Now()
	send := func(n int) {
		for i := range n {
			now = now.Add(time.Second / commandRate)
			s.handle(fmt.Appendf(nil, `{"id":"%d","command":"restart","camera":"cam1"}`, i), now, s.rivals)
		}
	}
	send(maxOpen + 1)
	if r := s.take(t); r.ID != "100" || !strings.Contains(r.Error, "too many commands are waiting") {
		t.Errorf("got %+v, want that the last is refused", r)
	}
	close(d.block["cam1"])
	for range maxOpen {
		s.take(t)
	}
	for range 10 * commandRate { // all at once
		s.handle([]byte("{"), now, s.rivals)
	}
	reports := 0
	for malformed := 0; malformed < commandRate-1; {
		switch r := s.take(t); {
		case strings.Contains(r.Error, "more than 20 commands a second"):
			reports++
		case strings.Contains(r.Error, "not JSON"):
			malformed++
		}
	}
	if reports > 1 {
		t.Errorf("the rate was reported %d times in one moment, want once", reports)
	}
}

func TestAnswersThatWaitAreBounded(t *testing.T) {
	var log testkit.Log
	logger := zerolog.New(&log)
	q := newAnswerQueue(func() *zerolog.Logger { return &logger })
	first := &answer{text: make([]byte, 10)}
	q.push(first)
	q.push(first)
	for range maxQueued {
		q.push(&answer{text: make([]byte, 10)})
	}
	if len(q.queue) != maxQueued || q.dropped != 1 || first.queued || q.size != maxQueued*10 || len(log.Messages()) != 1 {
		t.Errorf("%d answers of %d bytes wait, %d were dropped, want %d, 1", len(q.queue), q.size, q.dropped, maxQueued)
	}
	if q.published(first, nil); len(q.queue) != maxQueued {
		t.Error("another answer was taken for the dropped one")
	}
	big := &answer{text: make([]byte, maxAnswers+1)}
	if q.push(big); len(q.queue) != 1 || q.first() != big {
		t.Errorf("%d answers wait beside one larger than all of them may be, want it alone", len(q.queue))
	}
}
