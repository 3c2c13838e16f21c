package control

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// someone is a controller that knows of others what is put into it.
func someone(instance string) (*Namesakes, *bytes.Buffer) {
	var text bytes.Buffer
	log := zerolog.New(&text)
	return NewNamesakes("box1", Identity{Instance: instance, Host: "raspberrypi"}, func() *zerolog.Logger { return &log }), &text
}

func (n *Namesakes) hearFrom(t *testing.T, h hello, now time.Time) {
	t.Helper()
	text, err := h.encode()
	if err != nil || !isHello(text) {
		t.Fatalf("got %s, %v", text, err)
	}
	n.hear(text, now)
}

func TestWhoIsANamesake(t *testing.T) {
	const us, other = "us", "other"
	now := time.Now()
	id := Identity{Instance: other, Host: "raspberrypi", Address: "192.168.1.31", PID: 7}
	at := func(s float64) time.Time { return now.Add(time.Duration(s * float64(time.Second))) }
	type heard struct {
		at float64
		h  hello
	}
	for _, c := range []struct {
		name  string
		heard []heard
		look  float64
		want  int
	}{
		{"nobody", nil, 0, 0},
		{"ourselves", []heard{{0, hello{Identity: Identity{Instance: us}, Hears: []string{us}}}}, 0, 0},
		{"one that has heard us", []heard{{0, hello{Identity: id, Hears: []string{"x", us}}}}, 0, 1},
		{"what a predecessor had on its way", []heard{{0, hello{Identity: id}}, {0.1, hello{Identity: id}}}, 1, 0},
		{"one that does not hear us, and goes on", []heard{{0, hello{Identity: id}}, {2, hello{Identity: id}}}, 2, 1},
		{"one that has left", []heard{{0, hello{Identity: id, Hears: []string{us}}}, {1, hello{Identity: id, Ends: true}}}, 1, 0},
		{"one that pauses", []heard{{0, hello{Identity: id, Hears: []string{us}}}}, 10, 1},
		{"one that is gone", []heard{{0, hello{Identity: id, Hears: []string{us}}}}, 10.1, 0},
	} {
		n, log := someone(us)
		most := 0
		for _, h := range c.heard {
			n.hearFrom(t, h.h, at(h.at))
			most = max(most, len(n.Others()))
		}
		n.forget(at(c.look))
		if got := n.Others(); len(got) != c.want || c.want == 1 && got[0] != id {
			t.Errorf("%s: got %v, want %d", c.name, got, c.want)
		}
		began, over := strings.Count(log.String(), "another controller has this box's name"), strings.Count(log.String(), "to itself again")
		if began != most || over != most-c.want {
			t.Errorf("%s: it began %d times and was over %d times, want %d, %d:\n%s", c.name, began, over, most, most-c.want, log)
		}
	}
}

// Nobody counts as gone because nobody could be heard.
func TestOutageHidesNoNamesake(t *testing.T) {
	n, log := someone("us")
	now := time.Now()
	n.begin("192.168.1.30", now)
	n.hearFrom(t, hello{Identity: Identity{Instance: "other"}, Hears: []string{"us"}}, now)
	n.end()
	now = now.Add(time.Hour)
	n.begin("192.168.1.32", now)
	n.forget(now)
	if len(n.Others()) != 1 || n.Self().Address != "192.168.1.32" {
		t.Errorf("after an outage: got %v, and %v for ourselves", n.Others(), n.Self())
	}
	n.forget(now.Add(forgetAfter + time.Millisecond))
	if len(n.Others()) != 0 || strings.Count(log.String(), "another controller") != 1 {
		t.Errorf("got %v, and\n%s", n.Others(), log)
	}
}

// A command waits for as long as it is not known whom it means.
func TestAlone(t *testing.T) {
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	n, _ := someone("us")
	if err := n.alone(short); err == nil || !strings.Contains(err.Error(), "nothing was done: without a link") {
		t.Errorf("without a link: got %v", err)
	}
	n.said(2, nil, time.Now()) // somebody else listens
	if err := n.alone(short); err == nil {
		t.Error("it did not wait for the other's answer")
	}
	waiting := make(chan error, 1)
	go func() { waiting <- n.alone(context.Background()) }()
	n.hearFrom(t, hello{Identity: Identity{Instance: "other"}, Hears: []string{"us"}}, time.Now())
	var shared *SharedError
	if err := <-waiting; !errors.As(err, &shared) || !strings.Contains(err.Error(), "controller other") {
		t.Errorf("with another: got %v", err)
	}
	n.hearFrom(t, hello{Identity: Identity{Instance: "other"}, Ends: true}, time.Now())
	if err := n.alone(context.Background()); err != nil { // the time to answer is over soon
		t.Errorf("after it has left: got %v", err)
	}
	n.hearFrom(t, hello{Identity: Identity{Instance: "third"}}, time.Now())
	if err := n.alone(short); err == nil {
		t.Error("it did not wait for one that may be alive")
	}
}

// Whoever has not heard us, or cannot know that we have heard it, is told.
func TestWhoIsGreeted(t *testing.T) {
	n, _ := someone("us")
	now := time.Now()
	other := Identity{Instance: "other"}
	for i, c := range []struct {
		h    hello
		want bool
	}{
		{hello{Identity: other, Hears: []string{"us"}}, true},
		{hello{Identity: other, Hears: []string{"us"}}, false},
		{hello{Identity: other, Hears: []string{"third"}}, true},
		{hello{Identity: other, Ends: true}, false},
		{hello{Identity: n.self}, false},
	} {
		n.hearFrom(t, c.h, now)
		got := false
		select {
		case <-n.kick:
			got = true
		default:
		}
		if got != c.want {
			t.Errorf("%d: greeted: %v, want %v", i, got, c.want)
		}
	}
}

func TestHellosAreBounded(t *testing.T) {
	n, _ := someone("us")
	now := time.Now()
	for i := range 10 * maxNamesakes {
		now = now.Add(10 * time.Millisecond)
		n.hearFrom(t, hello{Identity: Identity{Instance: fmt.Sprint(i)}, Hears: []string{"us"}}, now)
	}
	if len(n.others) != maxNamesakes {
		t.Errorf("%d are known, want %d", len(n.others), maxNamesakes)
	}
	m, _ := someone("us")
	for i := range 10 * int(helloRate) { // all at once
		m.hearFrom(t, hello{Identity: Identity{Instance: "other"}, Hears: []string{fmt.Sprint(i)}}, m.bucket.filled)
	}
	if m.bucket.tokens >= 1 {
		t.Error("the rate is not kept")
	}
	var h hello
	for i := range maxNamesakes {
		h.Hears = append(h.Hears, fmt.Sprintf("%064d", i))
	}
	h.Instance = "other"
	if text, err := h.encode(); err != nil || len(text) > maxHello {
		t.Errorf("the largest hello has %d bytes, %v, want at most %d", len(text), err, maxHello)
	}
}

// A command that names an instance is for that one alone; what is wrong with it
// is told by that one alone too.
func TestCommandForAnInstance(t *testing.T) {
	d := &doer{}
	s := newServer(t, d)
	us := s.names.Self().Instance
	s.names.hearFrom(t, hello{Identity: Identity{Instance: "other"}, Hears: []string{us}}, time.Now())
	s.hear(`{"id":"1","command":"stop","camera":"cam1","instance":"other"}`)
	s.hear(`{"id":"2","command":"jump","instance":"other"}`)
	s.hear(`{"id":"3","command":"stop","camera":"cam1"}`)
	r := s.take(t)
	if r.ID != "3" || r.Status != Error || !strings.Contains(r.Error, "nothing was done: the name box1 is also that of controller other") ||
		r.Instance != us || len(r.Namesakes) != 1 || r.Namesakes[0].Instance != "other" {
		t.Errorf("without an instance: got %+v", r)
	}
	s.hear(`{"id":"4","command":"stop","camera":"cam1","instance":%q}`, us)
	if r := s.take(t); r.ID != "4" || r.Status != OK {
		t.Errorf("with ours: got %+v", r)
	}
	s.hear(`{"id":"5","command":"jump","instance":%q}`, us)
	if r := s.take(t); r.ID != "5" || r.Status != Error {
		t.Errorf("a mistake, with ours: got %+v", r)
	}
	s.hear(`{"id":"6","command":"status"}`)
	if r := s.take(t); r.ID != "6" || r.Status != OK {
		t.Errorf("status: got %+v, want it from everybody", r)
	}
	s.quiet(t)
	if got := strings.Join(d.effects(), ", "); got != "stop cam1, status " {
		t.Errorf("got effects %s", got)
	}
}

func FuzzHello(f *testing.F) {
	f.Add([]byte(helloBegins + `"instance":"a","host":"b","address":"::1","pid":1,"hears":["us"]}`))
	f.Add([]byte(helloBegins + `"instance":"a","hears":null,"ends":true}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, _ := someone("us")
		if !isHello(b) {
			b = append([]byte(helloBegins), b...)
		}
		n.hear(b, time.Now())
		for _, o := range n.Others() {
			if len(o.Shown()) > 256 || strings.ContainsAny(o.Shown(), "\x00\x1b\n\"<>\u0600") {
				t.Errorf("shown as %q", o.Shown())
			}
		}
	})
}
