package client

import (
	"io"
	"testing"

	"encoding/json"
	"regexp"
	"strings"

	"framekeeper/internal/control"
)

func TestControlOfTwo(t *testing.T) {
	b := newBench(t, "stream", "greencam1")
	first := startController(t, b, "box7")
	watcher := b.redis.Client().Subscribe(t.Context(), "control/box7")
	defer func() { _ = watcher.Close() }()
	if _, err := watcher.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) (stdout, stderr string, err error) {
		b.stdout, b.stderr = buffer{}, buffer{}
		err = b.client(t.Context(), append([]string{"control", "--box", "box7"}, args...)...)
		return b.stdout.String(), b.stderr.String(), err
	}
	// Somebody who only looks does no harm.
	if out, note, err := run("restart", "greencam1"); err != nil || out != "greencam1: running, pid 4711, camera ok\ufffd[2J\n" ||
		note != "box box7: 2 subscribers receive its commands, and only one has answered\n" {
		t.Errorf("beside a watcher: got %q, %q, %v", out, note, err)
	}

	second := startController(t, b, "box7")
	out, _, err := run("status")
	found := regexp.MustCompile(`(?m)^controller (\w+) \(host \S+, address \S+, pid \d+\):\nbox box7, version v1`).FindAllStringSubmatch(out, -1)
	if len(found) != 2 || err == nil || !strings.Contains(err.Error(), "box box7: 2 controllers have this name: give each box a [controller] box of its own, or choose one, such as --instance "+found[0][1]) {
		t.Fatalf("status: got %v\n%s", err, out)
	}
	before := len(first()) + len(second())
	out, _, err = run("restart", "greencam1")
	if err == nil || !strings.Contains(err.Error(), "2 controllers have this name, and 0 of them carried out restart") || strings.Count(out, "nothing was done: the name box7") != 2 {
		t.Errorf("restart: got %v\n%s", err, out)
	}
	if out, _, err = run("--json", "restart", "greencam1"); err == nil || strings.Count(out, "\n") != 2 {
		t.Errorf("--json: got %v\n%s", err, out)
	}
	for line := range strings.Lines(out) {
		var r control.Reply
		if err := json.Unmarshal([]byte(line), &r); err != nil || r.Status != control.Error || r.Instance == "" || len(r.Rivals) != 1 {
			t.Errorf("--json: got %v in %s", err, line)
		}
	}
	if n := len(first()) + len(second()); n != before {
		t.Errorf("%d commands were carried out", n-before)
	}
	out, note, err := run("--instance", found[1][1], "restart", "greencam1")
	if err != nil || strings.Count(out, "\n") != 1 || note != "box box7: 2 controllers have this name: give each box a [controller] box of its own\n" {
		t.Errorf("--instance: got %q, %q, %v", out, note, err)
	}
	if n := len(first()) + len(second()); n != before+1 {
		t.Errorf("with --instance %d commands were carried out, want one", n-before)
	}
}

// What has not answered, or is of an older version, is not hidden either.
func TestAnswersOfMany(t *testing.T) {
	answers := &control.Answers{
		Replies: []*control.Reply{
			{Command: control.Restart, Status: control.OK},
			{Command: control.Restart, Status: control.Error, Error: "no", Identity: control.Identity{Instance: "two", Address: "192.168.1.31"}},
		},
		Silent: []control.Identity{{Instance: "three", Host: "pi"}}, Listeners: 3,
	}
	got, err := answersText(answers, false, false)
	if err != nil {
		t.Fatal(err)
	}
	const want = "controller an older version:\n\ncontroller two (address 192.168.1.31):\nno\n\ncontroller three (host pi):\nhas not answered\n\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	err = answersError(io.Discard, "box1", false, answers)
	if want := "box box1: 3 controllers have this name, and 1 of them carried out restart: " + ownNameAdvice + ", or choose one, such as --instance two"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
