package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// someone is a controller that receives what a test gives it.
func someone(instance string) (*Rivals, *bytes.Buffer) {
	var text bytes.Buffer
	log := zerolog.New(&text)
	return NewRivals("box1", Identity{Instance: instance, Host: "raspberrypi"}, func() *zerolog.Logger { return &log }), &text
}

func (r *Rivals) receiveFrom(t *testing.T, h announcement, now time.Time) {
	t.Helper()
	h.Command = "hello"
	text, err := json.Marshal(h)
	if err != nil || !isAnnouncement(text) {
		t.Fatalf("got %s, %v", text, err)
	}
	r.receive(text, now)
}

func TestWhoIsARival(t *testing.T) {
	const us, other = "us", "other"
	now := time.Now()
	id := Identity{Instance: other, Host: "raspberrypi", Address: "192.168.1.31", PID: 7}
	at := func(s float64) time.Time { return now.Add(time.Duration(s * float64(time.Second))) }
	type received struct {
		at float64
		h  announcement
	}
	for _, c := range []struct {
		name     string
		received []received
		look     float64
		want     int
	}{
		{"nobody", nil, 0, 0},
		{"ourselves", []received{{0, announcement{Identity: Identity{Instance: us}, Hears: []string{us}}}}, 0, 0},
		{"one that has received ours", []received{{0, announcement{Identity: id, Hears: []string{"x", us}}}}, 0, 1},
		{"what a predecessor had on its way", []received{{0, announcement{Identity: id}}, {0.1, announcement{Identity: id}}}, 1, 0},
		{"one that does not receive ours, and goes on", []received{{0, announcement{Identity: id}}, {2, announcement{Identity: id}}}, 2, 1},
		{"one that has left", []received{{0, announcement{Identity: id, Hears: []string{us}}}, {1, announcement{Identity: id, Ends: true}}}, 1, 0},
		{"one that pauses", []received{{0, announcement{Identity: id, Hears: []string{us}}}}, 10, 1},
		{"one that is gone", []received{{0, announcement{Identity: id, Hears: []string{us}}}}, 10.1, 0},
	} {
		n, log := someone(us)
		most := 0
		for _, h := range c.received {
			n.receiveFrom(t, h.h, at(h.at))
			most = max(most, len(n.Alive()))
		}
		n.expire(at(c.look))
		if got := n.Alive(); len(got) != c.want || c.want == 1 && got[0] != id {
			t.Errorf("%s: got %v, want %d", c.name, got, c.want)
		}
		began, over := strings.Count(log.String(), "Another controller has this box's name"), strings.Count(log.String(), "No other controller")
		if began != most || over != most-c.want {
			t.Errorf("%s: it began %d times and was over %d times, want %d, %d:\n%s", c.name, began, over, most, most-c.want, log)
		}
	}
}

// No rival counts as gone because nothing could be received.
func TestOutageHidesNoRival(t *testing.T) {
	n, log := someone("us")
	now := time.Now()
	n.connected("192.168.1.30", now)
	n.receiveFrom(t, announcement{Identity: Identity{Instance: "other"}, Hears: []string{"us"}}, now)
	n.disconnected()
	now = now.Add(time.Hour)
	n.connected("192.168.1.32", now)
	n.expire(now)
	if len(n.Alive()) != 1 || n.Self().Address != "192.168.1.32" {
		t.Errorf("after an outage: got %v, and %v for ourselves", n.Alive(), n.Self())
	}
	n.expire(now.Add(rivalTimeout + time.Millisecond))
	if len(n.Alive()) != 0 || strings.Count(log.String(), "Another controller") != 1 {
		t.Errorf("got %v, and\n%s", n.Alive(), log)
	}
}

// A command waits for as long as it is not known whom it means.
func TestAlone(t *testing.T) {
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	n, _ := someone("us")
	if err := n.awaitNone(short); err == nil || !strings.Contains(err.Error(), "nothing was done: without a link") {
		t.Errorf("without a link: got %v", err)
	}
	n.announced(2, nil, time.Now()) // somebody else listens
	if err := n.awaitNone(short); err == nil {
		t.Error("it did not wait for the other's answer")
	}
	waiting := make(chan error, 1)
	go func() { waiting <- n.awaitNone(context.Background()) }()
	n.receiveFrom(t, announcement{Identity: Identity{Instance: "other"}, Hears: []string{"us"}}, time.Now())
	var shared *ConflictError
	if err := <-waiting; !errors.As(err, &shared) || !strings.Contains(err.Error(), "controller other") {
		t.Errorf("with another: got %v", err)
	}
	n.receiveFrom(t, announcement{Identity: Identity{Instance: "other"}, Ends: true}, time.Now())
	if err := n.awaitNone(context.Background()); err != nil { // the time to answer is over soon
		t.Errorf("after it has left: got %v", err)
	}
	n.receiveFrom(t, announcement{Identity: Identity{Instance: "third"}}, time.Now())
	if err := n.awaitNone(short); err == nil {
		t.Error("it did not wait for one that may be alive")
	}
}

// A rival that has not received our announcement, or that we have its own, gets
// another one.
func TestWhenRivalsAreAnswered(t *testing.T) {
	n, _ := someone("us")
	now := time.Now()
	other := Identity{Instance: "other"}
	for i, c := range []struct {
		h    announcement
		want bool
	}{
		{announcement{Identity: other, Hears: []string{"us"}}, true},
		{announcement{Identity: other, Hears: []string{"us"}}, false},
		{announcement{Identity: other, Hears: []string{"third"}}, true},
		{announcement{Identity: other, Ends: true}, false},
		{announcement{Identity: n.self}, false},
	} {
		n.receiveFrom(t, c.h, now)
		got := false
		select {
		case <-n.wake:
			got = true
		default:
		}
		if got != c.want {
			t.Errorf("%d: announced: %v, want %v", i, got, c.want)
		}
	}
}

func TestAnnouncementsAreBounded(t *testing.T) {
	n, _ := someone("us")
	now := time.Now()
	for i := range 10 * maxRivals {
		now = now.Add(10 * time.Millisecond)
		n.receiveFrom(t, announcement{Identity: Identity{Instance: fmt.Sprint(i)}, Hears: []string{"us"}}, now)
	}
	if len(n.rivals) != maxRivals {
		t.Errorf("%d are known, want %d", len(n.rivals), maxRivals)
	}
	m, _ := someone("us")
	for i := range 10 * announcementRate { // all at once
		m.receiveFrom(t, announcement{Identity: Identity{Instance: "other", PID: i}, Hears: []string{"us"}}, now)
	}
	if got := m.Alive(); len(got) != 1 || got[0].PID >= announcementRate {
		t.Errorf("%+v, want none of the announcements beyond the rate", got)
	}
	h := announcement{Command: "hello"}
	for i := range maxRivals {
		h.Hears = append(h.Hears, fmt.Sprintf("%064d", i))
	}
	h.Instance = "other"
	if text, err := json.Marshal(h); err != nil || len(text) > maxAnnouncement {
		t.Errorf("the largest announcement has %d bytes, %v, want at most %d", len(text), err, maxAnnouncement)
	}
}

// A command that rivals an instance is for that one alone; what is wrong with it
// is answered by that one alone too.
func TestCommandForAnInstance(t *testing.T) {
	d := &doer{}
	s := newServer(t, d)
	us := s.rivals.Self().Instance
	s.rivals.receiveFrom(t, announcement{Identity: Identity{Instance: "other"}, Hears: []string{us}}, time.Now())
	s.send(`{"id":"1","command":"stop","camera":"cam1","instance":"other"}`)
	s.send(`{"id":"2","command":"jump","instance":"other"}`)
	s.send(`{"id":"3","command":"stop","camera":"cam1"}`)
	r := s.take(t)
	if r.ID != "3" || r.Status != Error || !strings.Contains(r.Error, "nothing was done: the name box1 is also that of controller other") ||
		r.Instance != us || len(r.Rivals) != 1 || r.Rivals[0].Instance != "other" {
		t.Errorf("without an instance: got %+v", r)
	}
	s.send(`{"id":"4","command":"stop","camera":"cam1","instance":%q}`, us)
	if r := s.take(t); r.ID != "4" || r.Status != OK {
		t.Errorf("with ours: got %+v", r)
	}
	s.send(`{"id":"5","command":"jump","instance":%q}`, us)
	if r := s.take(t); r.ID != "5" || r.Status != Error {
		t.Errorf("a mistake, with ours: got %+v", r)
	}
	s.send(`{"id":"6","command":"status"}`)
	if r := s.take(t); r.ID != "6" || r.Status != OK {
		t.Errorf("status: got %+v, want it from everybody", r)
	}
	s.quiet(t)
	if got := strings.Join(d.effects(), ", "); got != "stop cam1, status " {
		t.Errorf("got effects %s", got)
	}
}

func FuzzAnnouncement(f *testing.F) {
	f.Add([]byte(announcementBegins + `"instance":"a","host":"b","address":"::1","pid":1,"hears":["us"]}`))
	f.Add([]byte(announcementBegins + `"instance":"a","hears":null,"ends":true}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, _ := someone("us")
		if !isAnnouncement(b) {
			b = append([]byte(announcementBegins), b...)
		}
		n.receive(b, time.Now())
		for _, o := range n.Alive() {
			if len(o.Shown()) > 256 || strings.ContainsAny(o.Shown(), "\x00\x1b\n\"<>\u0600") {
				t.Errorf("shown as %q", o.Shown())
			}
		}
	})
}
