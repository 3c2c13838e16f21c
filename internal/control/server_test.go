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
	"go.uber.org/goleak"

	"framekeeper/pkg/redisconn"
)

func TestMain(m *testing.M) {
	redisconn.Quiet()
	goleak.VerifyTestMain(m)
}

// doer counts the effects.
type doer struct {
	mu    sync.Mutex // guards all
	done  []string
	block map[string]chan struct{} // by camera: a command waits until it is closed
}

func (d *doer) do(ctx context.Context, c Command) (any, error) {
	d.mu.Lock()
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

func (d *doer) effects() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]string(nil), d.done...)
}

// tested is a server of box1 with what it knows of its namesakes: that there are
// none.
type tested struct {
	*Server
	names *Namesakes
}

func newServer(t *testing.T, d *doer) *tested {
	t.Helper()
	nop := zerolog.Nop()
	log := func() *zerolog.Logger { return &nop }
	s := &tested{NewServer(d.do, log), NewNamesakes("box1", NewIdentity(), log)}
	s.names.said(1, nil, time.Now())
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

func (s *tested) hear(format string, args ...any) {
	s.Handle(fmt.Appendf(nil, format, args...), time.Now(), s.names)
}

// take waits for the next answer, as the link's worker does.
func (s *tested) take(t *testing.T) *Reply {
	t.Helper()
	var e *entry
	eventually(t, "an answer", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		if e = s.out.first(); e != nil {
			s.out.remove(e)
		}
		return e != nil
	})
	r, err := ParseReply(e.reply)
	if err != nil || e.channel != "control-reply/box1" {
		t.Fatalf("got %v, for %s", err, e.channel)
	}
	return r
}

func (s *tested) quiet(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.out.first(); e != nil {
		t.Errorf("got another answer: %s", e.reply)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited 20 s in vain for %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func TestAnswersOnceAndTheSame(t *testing.T) {
	d := &doer{block: map[string]chan struct{}{"cam1": make(chan struct{})}}
	s := newServer(t, d)
	const restart = `{"id":"1","command":"restart","camera":"cam1"}`
	s.hear(restart)
	s.hear(restart) // while the first is carried out
	close(d.block["cam1"])
	first := s.take(t)
	if first.ID != "1" || first.Status != OK || first.Command != Restart || first.Camera != "cam1" || string(first.Result) != `{"n":1}` {
		t.Errorf("got %+v", first)
	}
	s.quiet(t)
	s.hear(restart)
	if again := s.take(t); again.TimeUS != first.TimeUS || string(again.Result) != `{"n":1}` {
		t.Errorf("a repeat: got %+v, want the first answer", again)
	}
	s.hear(`{"id":"1","command":"stop","camera":"cam1"}`)
	if other := s.take(t); other.Status != Error || !strings.Contains(other.Error, "another command") || other.ID != "1" {
		t.Errorf("another command under the id: got %+v", other)
	}
	s.hear(`{"id":"2","command":"stop","camera":"nocam"}`)
	if r := s.take(t); r.Status != Error || r.Error != "no such camera" || r.Result == nil {
		t.Errorf("got %+v, want an error with a result", r)
	}
	s.hear(`{"id":"3","command":"jump"}`)
	if r := s.take(t); r.Status != Error || r.ID != "3" || !strings.Contains(r.Error, "there are") {
		t.Errorf("got %+v, want an error that lists the commands", r)
	}
	for range 2 { // without an id each is its own
		s.hear(`{"command":"start","camera":"cam1"}`)
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
	s.hear(`{"id":"1","command":"restart","camera":"cam1"}`)
	s.hear(`{"id":"2","command":"stop","camera":"cam1"}`)
	s.hear(`{"id":"3","command":"stop","camera":"cam2"}`)
	if r := s.take(t); r.ID != "3" {
		t.Errorf("got %+v, want the other camera's answer", r)
	}
	s.hear(`{"id":"4","command":"status"}`)
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
	s.hear(`{"id":"1","command":"restart","camera":"cam1","timeout_ms":10}`)
	if r := s.take(t); r.Status != Error || !strings.Contains(r.Error, "deadline") {
		t.Errorf("got %+v, want what the command itself says", r)
	}
}

func TestBounds(t *testing.T) {
	d := &doer{block: map[string]chan struct{}{"cam1": make(chan struct{})}}
	s := newServer(t, d)
	now := time.Now()
	hear := func(n int) {
		for i := range n {
			now = now.Add(time.Second / rate)
			s.Handle(fmt.Appendf(nil, `{"id":"%d","command":"restart","camera":"cam1"}`, i), now, s.names)
		}
	}
	hear(maxWaiting + 1)
	if r := s.take(t); r.ID != "100" || !strings.Contains(r.Error, "too many commands are being carried out") {
		t.Errorf("got %+v, want that the last is refused", r)
	}
	close(d.block["cam1"])
	for range maxWaiting {
		s.take(t)
	}
	for range 10 * int(rate) { // all at once
		s.Handle([]byte("{"), now, s.names)
	}
	told := 0
	for malformed := 0; malformed < int(rate)-1; {
		switch r := s.take(t); {
		case strings.Contains(r.Error, "more than 20 commands a second"):
			told++
		case strings.Contains(r.Error, "not JSON"):
			malformed++
		}
	}
	if told > 1 {
		t.Errorf("the rate was told %d times in one moment, want once", told)
	}
}

func TestForgetsTheOldest(t *testing.T) {
	m := newMemory()
	for i := range maxKnown + 10 {
		e := &entry{id: fmt.Sprint(i), reply: make([]byte, 10)}
		m.add(e)
		m.answered(e)
	}
	pending := &entry{id: "pending"}
	m.add(pending)
	if len(m.known) != maxKnown+1 || m.find("9") != nil || m.find("10") == nil || m.find("pending") != pending || m.size != maxKnown*10 {
		t.Errorf("%d are known, of %d bytes", len(m.known), m.size)
	}
	big := &entry{id: "big", reply: make([]byte, maxKnownSize)}
	m.add(big)
	if m.answered(big); m.find("big") == nil || m.find("1000") != nil || m.find("pending") == nil {
		t.Error("a large answer does not push out the others, or itself")
	}
	var o outgoing
	first := &entry{reply: make([]byte, 10)}
	o.push(first)
	o.push(first)
	for range maxOut {
		o.push(&entry{reply: make([]byte, 10)})
	}
	if len(o.all) != maxOut || o.lost != 1 || first.queued || o.size != maxOut*10 {
		t.Errorf("%d answers of %d bytes wait, %d were given up, want %d, 1", len(o.all), o.size, o.lost, maxOut)
	}
	o.remove(first) // it is not the first any more
	if len(o.all) != maxOut {
		t.Error("another answer was taken for the one given up")
	}
}
