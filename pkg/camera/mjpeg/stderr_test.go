package mjpeg

import (
	"strings"
	"testing"
)

// What a command prints about itself is part of the status: without its credentials,
// whether they stand in its command line or not.
func TestStderrHasNoCredentials(t *testing.T) {
	tail, w, err := newStderrTail([]string{"hunter1"})
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"login with hunter1", "pw=hunter2 failed", "rtsp://u:hunter3@h/x is away", "Authorization: Basic hunter4", `{"password": "hunter5"}`, "Authorization: Bearer hunter6",
	} {
		tail.add(line)
		if text := tail.text(); strings.Contains(text, "hunter") || text == "" {
			t.Errorf("%q became %q", line, text)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	tail.close()
}
