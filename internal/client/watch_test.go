package client

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"framekeeper/internal/control"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/frame"
)

func TestWatchPrintsEachFrameOnce(t *testing.T) {
	for _, mode := range []string{"stream", "pubsub", "both"} {
		t.Run(mode, func(t *testing.T) {
			b := newBench(t, mode, "greencam1")
			a := startAgent(t, b.redis, "greencam1", mode)
			stop := b.background("watch", "--json")
			// A subscription is on when what is published shows.
			b.await("the first line", func() bool {
				a.produce()
				return b.stdout.String() != ""
			})
			first := lastHeader(t, b).ID
			var want []frame.ID
			for range 20 {
				want = append(want, a.produce())
			}
			a.with(func() { a.refuse = "not now" })
			a.serve([]byte(`{"id":"x","angle":25}`)) // an error reply is only ever published
			b.await("the error reply", func() bool { return strings.Contains(b.stdout.String(), "not now") })
			b.await("the last frame", func() bool { return strings.Contains(b.stdout.String(), want[19].String()) })
			stop()

			seen := map[frame.ID]int{}
			errors := 0
			for line := range strings.Lines(b.stdout.String()) {
				var h frame.Header
				if err := json.Unmarshal([]byte(line), &h); err != nil {
					t.Errorf("line %q: %v", line, err)
				}
				if h.Status == frame.StatusError {
					errors++
				} else if seen[h.ID]++; seen[h.ID] > 1 {
					t.Errorf("%s is printed %d times", h.ID, seen[h.ID])
				}
			}
			for _, id := range want {
				if seen[id] != 1 {
					t.Errorf("%s: printed %d times, want once (first was %s)", id, seen[id], first)
				}
			}
			if errors != 1 {
				t.Errorf("error replies: got %d, want 1", errors)
			}
		})
	}
}

func lastHeader(t *testing.T, b *bench) frame.Header {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(b.stdout.String()), "\n")
	h, err := frame.ParseHeader([]byte(lines[len(lines)-1]))
	if err != nil {
		t.Fatalf("last line: %v", err)
	}
	return h
}

func TestWatchFromStartAndCount(t *testing.T) {
	b := newBench(t, "stream", "greencam1")
	a := startAgent(t, b.redis, "greencam1", "stream")
	var want strings.Builder
	for range 3 {
		id := a.produce()
		fmt.Fprintf(&want, "greencam1 %s jpeg 64x48 %d bytes\n", id, len(imageOf(id)))
	}
	a.produce()
	b.mustClient("watch", "--from-start", "--count", "3")
	var got strings.Builder
	for line := range strings.Lines(b.stdout.String()) {
		head, _, _ := strings.Cut(line, " captured")
		got.WriteString(head + "\n")
	}
	if got.String() != want.String() {
		t.Errorf("got %q, want %q", got.String(), want.String())
	}
	b.configure(b.redis.URL(), "pubsub", "greencam1")
	b.stdout, b.stderr = buffer{}, buffer{}
	wantFailure(t, b, []string{"--from-start", "pubsub"}, "watch", "--from-start")
}

func TestDescribeIsSafeForTerminals(t *testing.T) {
	no := false
	previous := frame.ID{Epoch: 3, Seq: 9}
	for name, c := range map[string]struct {
		h    frame.Header
		want string
	}{
		"escape": {frame.Header{Status: frame.StatusError, Error: "\x1b[2Jgone\n", Request: json.RawMessage("{\"a\":\"\u009b\"}")},
			"cam error: \ufffd[2Jgone\ufffd, request {\"a\":\"\ufffd\"}\n"},
		"dropped": {frame.Header{ID: frame.ID{Epoch: 4, Seq: 3}, Status: frame.StatusDropped, First: frame.ID{Epoch: 4, Seq: 1},
			Last: frame.ID{Epoch: 4, Seq: 3}, Count: 3, Reason: "spool full"}, "cam 4-3 lost 3 frames, 4-1 to 4-3: spool full\n"},
		"started": {frame.Header{ID: frame.ID{Epoch: 4}, Status: frame.StatusStarted, Previous: &previous, Clean: &no},
			"cam 4-0 agent started after it had not ended in order, last before: 3-9\n"},
	} {
		m, err := frame.NewMessage(c.h, nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := describe("cam", m, nil); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

func TestJSONIsSafeForTerminals(t *testing.T) {
	const evil, escaped = "\u009b31m\u202e\x7f", `\u009b31m\u202e\u007f`
	m, err := frame.NewMessage(frame.Header{Status: frame.StatusError, Error: evil, Request: json.RawMessage(`{"a":"` + evil + `"}`)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	line := string(jsonLine(m))
	reply, err := replyText(&control.Reply{Error: evil, Result: json.RawMessage(`{"box":"` + evil + `"}`)}, true)
	if err != nil {
		t.Fatal(err)
	}
	var status buffer
	if err := printJSON(&status, []*camera.Config{{Name: "cam"}}, []report{{present: true, body: []byte(`{"a":"` + evil + `","b":"` + evil + `"}`)}}); err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string]string{"header": line, "reply": reply, "status": status.String()} {
		if strings.Contains(got, evil) || strings.Count(got, escaped) < 2 || strings.Count(got, "\n") != 1 || !json.Valid([]byte(got)) {
			t.Errorf("%s: got %q", name, got)
		}
	}
}
