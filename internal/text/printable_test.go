package text

import "testing"

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
