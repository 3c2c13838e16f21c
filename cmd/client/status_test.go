package main

import (
	"strings"
	"testing"
)

func TestStatus(t *testing.T) {
	b := newBench(t, "stream", "greencam1", "redcam")
	startAgent(t, b.redis, "greencam1", "stream")
	b.mustClient("status")
	got := b.stdout.String()
	for _, want := range []string{
		"greencam1: present, reported 0s ago\n", "  link.state     LIVE\n", "  outbox.newest  1000-1\n", "  capture.fps    26.6\n",
		"  writable       true\n",
		"redcam: absent, no cam-agent has announced itself (no key status:redcam)\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("got\n%s\nwant it to have %q", got, want)
		}
	}
	if strings.Contains(got, "reason") || strings.Contains(got, "camera ") {
		t.Errorf("got\n%s\nwant no empty fields, and only the headlines", got)
	}
	b.stdout = buffer{}
	b.mustClient("status", "--all", "--camera", "greencam1")
	if got := b.stdout.String(); !strings.Contains(got, "  camera         greencam1\n") {
		t.Errorf("--all: got\n%s\nwant everything", got)
	}
	b.stdout = buffer{}
	b.redis.Do("SET", "status:redcam", "not JSON \x1b[2J")
	b.mustClient("status", "--camera", "redcam")
	if got := b.stdout.String(); !strings.Contains(got, "redcam: present") || !strings.Contains(got, "unreadable") ||
		strings.Contains(got, "\x1b") || strings.Contains(got, "greencam1") {
		t.Errorf("unreadable status: got %q", got)
	}
}
