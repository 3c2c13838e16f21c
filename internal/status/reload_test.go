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
		o             *Reload
		says, advises string
	}{
		{none, "", ""},
		{&Reload{OK: true}, "", ""},
		{&Reload{Refused: true}, "the new configuration is refused", "may not start again"},
		{&Reload{}, "the new configuration is not wholly taken over", "reload"},
	} {
		if got := c.o.Says(); got != c.says {
			t.Errorf("%+v: got %q, want %q", c.o, got, c.says)
		}
		if c.says != "" && !strings.Contains(c.o.Advice(), c.advises) {
			t.Errorf("%+v: got %q, want %q in it", c.o, c.o.Advice(), c.advises)
		}
	}
	now := time.Date(2026, 11, 27, 9, 30, 0, 0, time.Local)
	for ago, want := range map[time.Duration]string{time.Minute: "09:29", 10 * time.Hour: "23:30", 24 * time.Hour: "2026-11-26 09:30"} {
		if got := (&Reload{At: now.Add(-ago)}).Clock(now); got != want {
			t.Errorf("%v ago: got %q, want %q", ago, got, want)
		}
	}
}

// A reason comes from a file that anything may have written.
func TestReasonIsBounded(t *testing.T) {
	o := NewReload(true, errors.New("a\x1b[2J\tb\xff"+strings.Repeat("ü", 1000)), time.Now())
	got := o.Reason()
	if !strings.HasPrefix(got, "a\ufffd[2J\ufffdb\ufffdü") || !strings.HasSuffix(got, "ü…") || utf8.RuneCountInString(got) != maxProblem {
		t.Errorf("got %q, %d characters", got, utf8.RuneCountInString(got))
	}
}
