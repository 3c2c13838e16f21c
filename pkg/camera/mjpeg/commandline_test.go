package mjpeg

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestSplitWords(t *testing.T) {
	for line, want := range map[string][]string{
		`rpicam-vid --codec mjpeg -o -`:      {"rpicam-vid", "--codec", "mjpeg", "-o", "-"},
		"  a\tb \n c ":                       {"a", "b", "c"},
		`a 'b c' "d e" f\ g`:                 {"a", "b c", "d e", "f g"},
		`a '' ""`:                            {"a", "", ""},
		`a x'y'"z"\w`:                        {"a", "xyzw"},
		`sh -c 'a | b > "c"'`:                {"sh", "-c", `a | b > "c"`},
		`a "q\"q" "s\\s" "d\$d" "n\n" 'b\s'`: {"a", `q"q`, `s\s`, "d$d", `n\n`, `b\s`},
		`gst-launch-1.0 v4l2src ! image/jpeg,w=1 ! fdsink`: {"gst-launch-1.0", "v4l2src", "!", "image/jpeg,w=1", "!", "fdsink"},
		`a '|' \> "&&" x>y $HOME *`:                        {"a", "|", ">", "&&", "x>y", "$HOME", "*"},
	} {
		got, err := splitWords(line)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got %q, %v; want %q", line, got, err, want)
		}
	}
	for line, want := range map[string]string{
		``: "empty", `   `: "empty", `''`: "empty", `a 'b`: "quote ' in the command is not closed", `a "b\"`: "quote \"",
		`a \`: "backslash", "a\x00b": "zero byte", `a | b`: "for a shell", `a > f`: "for a shell", `a 2>&1`: "for a shell",
		`a < f`: "for a shell", `a && b`: "for a shell", `a & `: "for a shell", `a >>f`: "for a shell",
	} {
		if got, err := splitWords(line); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %q, %v; want an error with %q", line, got, err, want)
		}
	}
}

// FuzzSplitWords: what is quoted comes out as it was, and nothing is made up.
func FuzzSplitWords(f *testing.F) {
	f.Add(`a 'b c' "d\"e" \f`)
	f.Add("x\\")
	f.Fuzz(func(t *testing.T, line string) {
		words, err := splitWords(line)
		if err != nil {
			return
		}
		var again []string
		for _, w := range words {
			again = append(again, "'"+strings.ReplaceAll(w, "'", `'\''`)+"'")
		}
		back, err := splitWords(strings.Join(again, " "))
		if err != nil || !slices.Equal(back, words) {
			t.Fatalf("%q: %q, quoted and split again %q, %v", line, words, back, err)
		}
	})
}

func TestStderrShowsNoSecrets(t *testing.T) {
	words, err := splitWords(`cam --password hunter2 -u admin:geheim user-pw=s3cret sh -c 'PASSWORD="p4ss" x --token "t0ken" | y' --size 640 joe@home rtsp://u:p@host/x`)
	if err != nil {
		t.Fatal(err)
	}
	stderr, w, err := newStderrTail(secrets(words))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"lost", "1%\r2%\r3% of 640\r", strings.Repeat("é", 5000), "\x1b[31mwrong hunter2 for admin:geheim\x00", "s3cret joe@home rtsp://u:p@host/x: refused", "+ PASSWORD=p4ss x --token t0ken",
	} {
		if _, err := w.WriteString(line + "\n"); err != nil {
			t.Fatal(err)
		}
	}
	_ = w.Close()
	got := stderr.final()
	stderr.close()
	for _, secret := range []string{"hunter2", "geheim", "s3cret", "p4ss", "t0ken", "joe", "u:p", "host/x", "\x1b", "\x00", "lost"} {
		if strings.Contains(got, secret) {
			t.Errorf("%q shows %q", got, secret)
		}
	}
	if !strings.Contains(got, "[31mwrong … for …") || !strings.Contains(got, "… … rtsp://… refused") || utf8.RuneCountInString(got) > 3*tailWidth+6 || !utf8.ValidString(got) {
		t.Errorf("got %q", got)
	}
}
