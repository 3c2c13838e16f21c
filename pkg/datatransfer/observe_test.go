package datatransfer

import (
	"testing"
	"time"

	"github.com/rs/zerolog"
)

func TestLinkTellsOfLossAndReturn(t *testing.T) {
	l := NewLink(LinkConfig{Log: zerolog.Nop()})
	var lost, back []Outage
	l.cfg.OnOutage = func(x Outage) { lost = append(lost, x) }
	l.cfg.OnRecovery = func(x Outage) { back = append(back, x) }
	before := l.Status()
	l.live(&Session{}, time.Millisecond)
	l.lost(ending{err: errUnsubscribed, wasLive: true, connected: true, silent: time.Second})
	l.lost(ending{err: errUnsubscribed}) // a failed attempt is no loss
	if len(lost) != 1 || lost[0].Silent != time.Second || lost[0].Cause == "" || len(back) != 0 {
		t.Fatalf("got losses %+v and returns %+v, want one loss after 1s", lost, back)
	}
	l.live(&Session{}, time.Millisecond)
	if len(back) != 1 || back[0].Lasted <= 0 || back[0].At != lost[0].At {
		t.Errorf("got returns %+v, want the one of %+v", back, lost[0])
	}
	after := l.Status()
	if after.Changes != before.Changes+3 || !after.Moved.After(before.Moved) {
		t.Errorf("got %d changes, moved at %v, want 3 more than %d and later than %v", after.Changes, after.Moved, before.Changes, before.Moved)
	}
}
