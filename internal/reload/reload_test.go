package reload

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"
)

func TestMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		m := NewMemory(began)
		if good, ok := m.Good(time.Now()); m.Last(time.Now()) != nil || !ok || !good.Equal(began) {
			t.Errorf("at the start: got %+v, %v, %v, want no reload, and a good one", m.Last(time.Now()), good, ok)
		}
		<-time.After(time.Hour)
		m.Note(true, errors.New("config.toml:1: a: wrong\nconfig.toml:2: b: wrong\nconfig.toml:3: c: wrong"), time.Now())
		<-time.After(90 * time.Second)
		o := m.Last(time.Now())
		if o.OK || !o.Refused || o.Problems != 3 || o.AgoS != 90 || !o.At.Equal(began.Add(time.Hour)) {
			t.Errorf("refused: got %+v", o)
		}
		if got, want := o.Reason(), "config.toml:1: a: wrong; and 2 more"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if good, ok := m.Good(time.Now()); ok || !good.Equal(began) {
			t.Errorf("refused: got %v, %v, want the start", good, ok)
		}
		m.Note(false, errors.New("cam1: it has ended"), time.Now())
		if o := m.Last(time.Now()); o.OK || o.Refused || o.Problems != 1 || o.Reason() != "cam1: it has ended" {
			t.Errorf("taken over in part: got %+v", o)
		}
		<-time.After(time.Minute)
		m.Note(false, nil, time.Now())
		text, err := json.Marshal(m.Last(time.Now()))
		if err != nil || strings.Contains(string(text), "refused") || strings.Contains(string(text), "problem") || !strings.Contains(string(text), `"ok":true`) {
			t.Errorf("good: got %s, %v", text, err)
		}
		if good, ok := m.Good(time.Now()); !ok || !good.Equal(time.Now()) {
			t.Errorf("good: got %v, %v, want now", good, ok)
		}
	})
}

func TestWords(t *testing.T) {
	var none *Outcome
	for _, c := range []struct {
		o             *Outcome
		says, advises string
	}{
		{none, "", ""},
		{&Outcome{OK: true}, "", ""},
		{&Outcome{Refused: true}, "the new configuration is refused", "may not start again"},
		{&Outcome{}, "the new configuration is not wholly taken over", "reload"},
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
		if got := (&Outcome{At: now.Add(-ago)}).Clock(now); got != want {
			t.Errorf("%v ago: got %q, want %q", ago, got, want)
		}
	}
}

// A reason comes from a file that anything may have written.
func TestReasonIsBounded(t *testing.T) {
	o := outcome(true, errors.New("a\x1b[2J\tb\xff"+strings.Repeat("ü", 1000)), time.Now())
	got := o.Reason()
	if !strings.HasPrefix(got, "a\ufffd[2J\ufffdb\ufffdü") || !strings.HasSuffix(got, "ü…") || utf8.RuneCountInString(got) != maxProblem {
		t.Errorf("got %q, %d characters", got, utf8.RuneCountInString(got))
	}
}
