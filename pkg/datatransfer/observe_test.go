package datatransfer

import (
	"testing"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/redisconn"
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

// However often a link tries, it shows since when there is none.
func TestSinceIsOfTheOutage(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	h := listen(t, testkit.Fast(server.URL()))
	h.waitLive(t)
	live := h.Status().Since
	server.Kill()
	h.waitCause(t, redisconn.CauseRefused)
	lost := h.Status()
	testkit.Eventually(t, "three more attempts", func() bool { return h.Status().Attempts >= lost.Attempts+3 })
	if now := h.Status(); !now.Since.Equal(lost.Since) || !now.Since.After(live) {
		t.Errorf("since %v after %d attempts, it was %v after %d; LIVE since %v", now.Since, now.Attempts, lost.Since, lost.Attempts, live)
	}
	server.Restart()
	h.waitLive(t)
	if now := h.Status(); !now.Since.After(lost.Since) {
		t.Errorf("LIVE since %v, the outage began at %v", now.Since, lost.Since)
	}
}
