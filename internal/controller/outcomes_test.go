package controller

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestOutcomes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		m := newOutcomes(began)
		if good, ok := m.lastGood(time.Now()); m.latest(time.Now()) != nil || !ok || !good.Equal(began) {
			t.Errorf("at the start: got %+v, %v, %v, want no reload, and a good one", m.latest(time.Now()), good, ok)
		}
		<-time.After(time.Hour)
		m.note(true, errors.New("config.toml:1: a: wrong\nconfig.toml:2: b: wrong\nconfig.toml:3: c: wrong"), time.Now())
		<-time.After(90 * time.Second)
		o := m.latest(time.Now())
		if o.OK || !o.Refused || o.Problems != 3 || o.AgoS != 90 || !o.At.Equal(began.Add(time.Hour)) {
			t.Errorf("refused: got %+v", o)
		}
		if got, want := o.Item().Why(), "config.toml:1: a: wrong; and 2 more"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if good, ok := m.lastGood(time.Now()); ok || !good.Equal(began) {
			t.Errorf("refused: got %v, %v, want the start", good, ok)
		}
		m.note(false, errors.New("cam1: it has ended"), time.Now())
		if o := m.latest(time.Now()); o.OK || o.Refused || o.Problems != 1 || o.Item().Why() != "cam1: it has ended" {
			t.Errorf("taken over in part: got %+v", o)
		}
		<-time.After(time.Minute)
		m.note(false, nil, time.Now())
		text, err := json.Marshal(m.latest(time.Now()))
		if err != nil || strings.Contains(string(text), "refused") || strings.Contains(string(text), "problem") || !strings.Contains(string(text), `"ok":true`) {
			t.Errorf("good: got %s, %v", text, err)
		}
		if good, ok := m.lastGood(time.Now()); !ok || !good.Equal(time.Now()) {
			t.Errorf("good: got %v, %v, want now", good, ok)
		}
	})
}
