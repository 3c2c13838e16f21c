package text

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
	"unicode"
)

func TestPrintable(t *testing.T) {
	for _, c := range []struct {
		in    string
		limit int
		want  string
	}{
		{"plain text, ä and 漢", 0, "plain text, ä and 漢"},
		{"\x1b[2Jgone\x00\n", 0, "\ufffd[2Jgone\ufffd\ufffd"},
		{"bad \xff byte", 0, "bad \ufffd byte"},
		{"äöüß", 4, "äöüß"},
		{"äöüßx", 4, "äöü…"},
	} {
		if got := Printable(c.in, c.limit); got != c.want {
			t.Errorf("Printable(%q, %d) = %q, want %q", c.in, c.limit, got, c.want)
		}
	}
}

func TestEscapeJSON(t *testing.T) {
	for in, want := range map[string]string{
		`{"a":[1,"plain ä 漢 \u001b \" "],"b":null}`:     `{"a":[1,"plain ä 漢 \u001b \" "],"b":null}`,
		"{\"\u009b31m\":\"x\u202ey\u007f\u2028\"}":      `{"\u009b31m":"x\u202ey\u007f\u2028"}`,
		"[\"\U000e0001tag\",\"\U0001f600\",\"\ufffd\"]": "[\"\\udb40\\udc01tag\",\"\U0001f600\",\"\ufffd\"]",
		"[\"bad \x9b byte\"]":                           "[\"bad \ufffd byte\"]",
	} {
		got := EscapeJSON([]byte(in))
		if string(got) != want {
			t.Errorf("EscapeJSON(%q) = %q, want %q", in, got, want)
		}
		if i := bytes.IndexFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
			t.Errorf("EscapeJSON(%q) = %q can command a terminal", in, got)
		}
		var before, after any
		if err := json.Unmarshal([]byte(in), &before); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(got, &after); err != nil || !reflect.DeepEqual(before, after) {
			t.Errorf("EscapeJSON(%q) reads as %q, %v", in, after, err)
		}
	}
}

// No password or token of a line is left, and what is none stays.
func TestHideSecrets(t *testing.T) {
	for in, want := range map[string]string{
		"open rtsp://admin:p/w@x@cam:554/live failed":             "open rtsp://…@cam:554/live failed",
		"GET http://cam/video?user=a&password=b&x=1 404":          "GET http://cam/video?… 404",
		`rtspsrc location=rtsp://u:p@cam/s user-pw=SECRET ! fake`: "rtspsrc location=rtsp://…@cam/s user-pw=… ! fake",
		`{"password": "a b", "n": 1}`:                             `{"password": …, "n": 1}`,
		"Authorization: Basic YWRtaW46cHc=":                       "Authorization: Basic …",
		"token=abc;next":                                          "token=…;next",
		"redis=redis://127.0.0.1:6379/0 cause=password":           "redis=redis://127.0.0.1:6379/0 cause=password",
		"it refuses the user or the password":                     "it refuses the user or the password",
	} {
		if got := HideSecrets(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
