package controller

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"framekeeper/internal/events"
	"framekeeper/internal/status"
	"framekeeper/internal/testkit/redistest"
)

// events are the box's, oldest first, from its page's address.
func (s setup) events(t *testing.T) (all []events.Event) {
	t.Helper()
	code, body := s.visit(t, "/api/v1/events?limit=1000")
	var answer struct{ Events []events.Event }
	if err := json.Unmarshal(body, &answer); code != 0 && err != nil {
		t.Fatalf("/api/v1/events: %v, %s", err, body)
	}
	for i := range answer.Events {
		all = append(all, answer.Events[len(answer.Events)-1-i])
	}
	return all
}

// awaitEvent waits for an event with this text.
func (s setup) awaitEvent(t *testing.T, kind events.Kind, health status.Health, text string) (found events.Event) {
	t.Helper()
	eventually(t, "the event "+text, func() bool {
		for _, e := range s.events(t) {
			if e.Kind == kind && e.Health == health && strings.Contains(e.Text, text) {
				found = e
				return true
			}
		}
		return false
	})
	return found
}

func (s setup) healthy(t *testing.T) {
	t.Helper()
	eventually(t, "a healthy box", func() bool { code, _ := s.visit(t, "/readyz"); return code == 200 })
}

// What happens to a real box: an outage with its account, a killed agent, a camera that
// stalls, a configuration that is refused; kept over the controller's end, in order or
// not.
func TestEventsOfABox(t *testing.T) {
	server := redistest.Start(t)
	s := boxOf(t, server.URL(), 1)
	feed := filepath.Join(s.dir, "feed.sh")
	if err := os.WriteFile(feed, []byte("#!/bin/sh\nwhile :; do [ -e "+s.dir+"/stall ] || cat "+s.dir+"/frame.jpg; sleep 0.1; done\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	(&watched{one: s}).feed(t, "frame.jpg", 1)
	s.add(t, "[[camera]]\nname = \"feed\"\nsource = \"exec:"+feed+"\"\nstall_timeout = \"1s\"\nmax_reopens = 100\n")
	_, end := s.begin(t)
	s.healthy(t)

	server.Kill()
	s.awaitEvent(t, events.Outage, status.Failed, "Redis is away: refused")
	waiting := regexp.MustCompile(`away for ([3-9]|\d\d) s: \d+ frames to be sent, \d+ of them on disk`)
	eventually(t, "frames on disk", func() bool { _, page := s.visit(t, "/"); return waiting.Match(page) })
	server.Restart()
	outage := s.awaitEvent(t, events.Outage, status.Healthy, "; nothing lost")
	if outage.Waited == 0 || outage.OnDisk == 0 || outage.LastedS <= 0 {
		t.Errorf("the outage's account is %+v", outage)
	}
	s.healthy(t)

	if err := os.WriteFile(filepath.Join(s.dir, "stall"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.awaitEvent(t, events.Camera, status.Failed, "feed gives no frames: capture is ")
	if err := os.Remove(filepath.Join(s.dir, "stall")); err != nil {
		t.Fatal(err)
	}
	s.awaitEvent(t, events.Camera, status.Healthy, "feed is healthy again, after ")

	if err := syscall.Kill(s.pid(t, "cam1"), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	s.awaitEvent(t, events.Restart, status.Degraded, "cam1: its agent was started again: signal: killed")

	s.adjust(t, `box = "box1"`, `bax = "box1"`)
	hangUp(t)
	s.awaitEvent(t, events.Reload, status.Degraded, "Configuration is refused; the old one stays in force: ")
	s.adjust(t, `bax = "box1"`, `box = "box1"`)
	hangUp(t)
	s.awaitEvent(t, events.Reload, status.Healthy, "Configuration is reloaded")

	before := s.events(t)
	if err := end(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(s.state, "events.jsonl")
	text, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(text), `"kind":"stop"`) {
		t.Fatalf("%v, the file is %s", err, text)
	}
	_, end = s.begin(t)
	if e := s.awaitEvent(t, events.Start, status.Healthy, " started"); e.Count > 1 {
		s.awaitEvent(t, events.Stop, status.Healthy, "Controller stopped")
	}
	if after := s.events(t); len(after) < len(before) {
		t.Errorf("%d events after the start, %d before", len(after), len(before))
	}
	if err := end(); err != nil {
		t.Fatal(err)
	}
	// As a kill leaves it: the last event is none of an end.
	lines := strings.SplitAfter(strings.TrimSuffix(string(text), "\n"), "\n")
	if err := os.WriteFile(file, []byte(strings.Join(lines[:len(lines)-1], "")), 0o600); err != nil {
		t.Fatal(err)
	}
	s.begin(t)
	s.awaitEvent(t, events.Start, status.Degraded, "the one before did not end in order")
}

// pid is the process of a camera's agent.
func (s setup) pid(t *testing.T, camera string) int {
	t.Helper()
	_, body := s.visit(t, "/readyz")
	var ready status.Ready
	if err := json.Unmarshal(body, &ready); err != nil {
		t.Fatalf("/readyz: %v, %s", err, body)
	}
	return ready.Agents[camera].PID
}
