package supervise

import (
	"strings"
	"testing"
)

func TestLinesPassUnchangedAndWhole(t *testing.T) {
	out := &output{}
	both := &sink{w: out}
	a, b := &lines{sink: both}, &lines{sink: both}
	for _, step := range []struct {
		to   *lines
		text string
	}{{a, "{\"a\":"}, {b, "\x1b[31mred\x1b[0m b\n"}, {a, "1}\r\n\nlast"}, {b, "half"}} {
		if n, err := step.to.Write([]byte(step.text)); n != len(step.text) || err != nil {
			t.Fatalf("Write(%q): got %d, %v, want %d, nil", step.text, n, err, len(step.text))
		}
	}
	a.flush()
	b.flush()
	b.flush()
	want := "\x1b[31mred\x1b[0m b\n{\"a\":1}\r\n\nlast\nhalf\n"
	if got := out.String(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := a.lastLine(); got != "last" {
		t.Errorf("last line: got %q, want %q", got, "last")
	}
}

func TestLinesAreBounded(t *testing.T) {
	out := &output{}
	l := &lines{sink: &sink{w: out}}
	long := strings.Repeat("x", 3000)
	for range 1000 {
		_, _ = l.Write([]byte(long))
	}
	if got := cap(l.part); got > 2*maxLine {
		t.Errorf("an endless line occupies %d bytes, want at most %d", got, 2*maxLine)
	}
	_, _ = l.Write([]byte("end\nnext\n"))
	if got, want := out.String(), strings.Repeat("x", maxLine)+"\nnext\n"; got != want {
		t.Errorf("got %d bytes, want %d", len(got), len(want))
	}
}

func TestLastLineIsPrintable(t *testing.T) {
	l := &lines{sink: &sink{w: &output{}}}
	_, _ = l.Write([]byte("\x1b[31mbad\x00\xff thing\r\n  \n"))
	if got, want := l.lastLine(), "\ufffd[31mbad\ufffd\ufffd thing"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// What a library prints about a source has no password when it is shown.
func TestLinesShowNoSecrets(t *testing.T) {
	for line, want := range map[string]string{
		"0:00:00.1 42 0x1 DEBUG rtspsrc rtsp://u:p@cam/": "0:00:00.1 42 0x1 DEBUG rtspsrc rtsp://…@cam/\n", // GStreamer
		"2026-11-30 14:46:48.123 INF token=ours":         "2026-11-30 14:46:48.123 INF token=ours\n",
	} {
		out := &output{}
		l := &lines{sink: &sink{w: out}}
		_, _ = l.Write([]byte(line + "\n"))
		if got := out.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	out := &output{}
	l := &lines{sink: &sink{w: out}}
	_, _ = l.Write([]byte("{\"source\":\"a@b\",\"password\":1}\n[ WARN:0] cannot open rtsp://admin:SECRET1@cam/live?token=SECRET2 user-pw=SECRET3\n"))
	if got := out.String() + l.lastLine(); strings.Contains(got, "SECRET") || !strings.Contains(got, `"password":1}`) || !strings.Contains(got, "cannot open rtsp://…@cam/live") {
		t.Errorf("got %q", got)
	}
}
