package status

import (
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestReloadWords(t *testing.T) {
	var none *Reload
	for _, c := range []struct {
		o                *Reload
		health           Health
		summary, advises string
	}{
		{none, Healthy, "is in force", ""},
		{&Reload{OK: true}, Healthy, "is in force", ""},
		{&Reload{Refused: true}, Degraded, "is refused; the old one stays in force", "may refuse this file"},
		{&Reload{}, Degraded, "is only partly in force", "reload"},
	} {
		if got := c.o.Item(); got.Health != c.health || got.Summary != c.summary || !strings.Contains(got.Advice, c.advises) {
			t.Errorf("%+v: got %+v", c.o, got)
		}
	}
}

// A reason comes from a file that anything may have written.
func TestReasonIsBounded(t *testing.T) {
	o := NewReload(true, errors.New("a\x1b[2J\tb\xff"+strings.Repeat("ü", 1000)), time.Now())
	got := o.Item().Why()
	if !strings.HasPrefix(got, "a\ufffd[2J\ufffdb\ufffdü") || !strings.HasSuffix(got, "ü…") || utf8.RuneCountInString(got) != maxProblem {
		t.Errorf("got %q, %d characters", got, utf8.RuneCountInString(got))
	}
}
