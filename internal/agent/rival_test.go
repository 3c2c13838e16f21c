package agent

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"framekeeper/internal/async"
	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/outbox"
)

func TestASecondAgentIsRefused(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	first := present(t, testkit.Unhurried(server.URL()), "i1", "o1", 200*time.Millisecond)
	first.waitLive(t)
	testkit.Eventually(t, "the first one shows itself", func() bool { return shown(t, server.Client()).Instance == "i1" })
	second := present(t, testkit.Fast(server.URL()), "i2", "o2", 200*time.Millisecond)
	testkit.Eventually(t, "the second one gives up", func() bool {
		return second.link.Status().State == datatransfer.Down && second.link.Status().Detail != ""
	})
	if err := second.end(); !errors.Is(err, outbox.ErrClaimed) {
		t.Errorf("the second agent's Run returned %v, want %v", err, outbox.ErrClaimed)
	}
	if s := first.link.Status(); s.Outages != 0 || s.State != datatransfer.Live {
		t.Errorf("the first agent is %+v, want unharmed", s)
	}
	if got := shown(t, server.Client()).Instance; got != "i1" {
		t.Errorf("the status is %q's, want the first agent's", got)
	}
}

// Two boxes made from one image have the same host name, the same state
// directory and hardly the same process numbers.
func TestASecondBoxOfOneImageIsRefused(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	server := redistest.Start(t)
	stop := make(chan struct{})
	var renewing sync.WaitGroup
	renew := func(n int64) {
		first, _ := json.Marshal(identity{Instance: "i1", Owner: "o", Host: host, PID: 1 << 22, Boot: "another box", TimeUS: n})
		_ = server.Client().Set(context.Background(), statusKey, first, time.Minute).Err() // the test sees what comes of it
	}
	renew(1)
	renewing.Go(func() {
		for n := int64(2); ; n++ {
			select {
			case <-stop:
				return
			case <-time.After(50 * time.Millisecond):
				renew(n)
			}
		}
	})
	defer renewing.Wait()
	defer close(stop)
	second := present(t, testkit.Fast(server.URL()), "i2", "o", time.Minute)
	testkit.Eventually(t, "the second one gives up", func() bool {
		return second.link.Status().State == datatransfer.Down && second.link.Status().Detail != ""
	})
	if err := second.end(); !errors.Is(err, outbox.ErrClaimed) {
		t.Errorf("the second box's Run returned %v, want %v", err, outbox.ErrClaimed)
	}
}

// silent is an inquiry that nobody answers, forbidden one that Redis refuses.
func silent(ctx context.Context) (alive bool, err error) {
	async.Pause(ctx, 2*time.Second)
	return false, ctx.Err()
}

func forbidden(context.Context) (alive bool, err error) { return false, redisError("NOPERM") }

// Of an agent that is dead for certain nothing is waited for. Another one is dead when
// it does not answer or, where it cannot be asked, when its status expires.
func TestALeftoverStatusIsOutlived(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	dead := 1 << 22 // beyond all process numbers
	for name, c := range map[string]struct {
		status  any
		ttl     time.Duration
		refusal error
		ask     func(context.Context) (bool, error)
		wait    time.Duration
	}{
		"none":                        {},
		"ours":                        {status: identity{Instance: "i2", Owner: "o1"}, ttl: time.Minute},
		"of the same state directory": {status: identity{Instance: "i1", Owner: "o2", Host: "box"}, ttl: time.Minute},
		"of a dead process here":      {status: identity{Instance: "i1", Owner: "o1", Host: host, PID: dead, Boot: bootID()}, ttl: time.Minute},
		"of a copy of this box":       {status: identity{Instance: "i1", Owner: "o2", Host: host, PID: dead, Boot: "other"}, ttl: time.Minute, ask: silent, wait: 2 * time.Second},
		"of another box":              {status: identity{Instance: "i1", Owner: "o1", Host: "box"}, ttl: time.Minute, ask: silent, wait: 2 * time.Second},
		"that expires meanwhile":      {status: identity{Instance: "i1", Owner: "o1", Host: "box"}, ttl: time.Second, ask: silent, wait: time.Second},
		"of one not to be asked":      {status: identity{Instance: "i1", Owner: "o1", Host: "box"}, ttl: time.Minute, ask: forbidden, wait: time.Minute},
		"that never expires":          {status: identity{Instance: "i1", Owner: "o1"}},
		"that is no agent's":          {status: []int{1}, ttl: time.Minute},
		"that must not be read":       {status: identity{Instance: "i1", Owner: "o1"}, ttl: time.Minute, refusal: redisError("NOPERM")},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &fakeRedis{refusal: c.refusal}
				if c.status != nil {
					r.set(c.status, c.ttl)
				}
				began := time.Now()
				if err := presenceOf(&testkit.Log{}).admit(t.Context(), r, c.ask); err != nil {
					t.Errorf("admit returned %v", err)
				}
				if took := time.Since(began); took != c.wait {
					t.Errorf("admitted after %v, want %v", took, c.wait)
				}
			})
		})
	}
}

func TestPresenceRefusesToStartBesideALiveAgent(t *testing.T) {
	first := identity{Instance: "i1", Owner: "o1", Host: "box", TimeUS: 1}
	renewed, another := first, first
	renewed.TimeUS, another.Instance = 2, "i3"
	for name, c := range map[string]struct {
		first     any
		meanwhile any           // stands there
		after     time.Duration // 0: just before it is taken over
		ask       func(context.Context) (bool, error)
		took      time.Duration
	}{
		"that answers":        {first: first, ask: func(context.Context) (bool, error) { return true, nil }},
		"renewed":             {first: first, meanwhile: renewed, after: 1450 * time.Millisecond, ask: silent, took: 1500 * time.Millisecond},
		"not to be asked":     {first: first, meanwhile: renewed, after: 19950 * time.Millisecond, ask: forbidden, took: 20 * time.Second},
		"of another instance": {first: first, meanwhile: another, after: 950 * time.Millisecond, ask: silent, took: time.Second},
		"renewed at the end":  {first: first, meanwhile: renewed, ask: silent, took: 2 * time.Second},
		"started beside it":   {first: first, meanwhile: another, ask: silent, took: 2 * time.Second},
		"beside the first":    {meanwhile: another},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &fakeRedis{}
				if c.first != nil {
					r.set(c.first, time.Minute)
				}
				appear := func() { r.set(c.meanwhile, time.Minute) }
				if c.after > 0 {
					time.AfterFunc(c.after, appear)
				} else if c.meanwhile != nil {
					r.meanwhile = appear
				}
				began := time.Now()
				err := presenceOf(&testkit.Log{}).admit(t.Context(), r, c.ask)
				if fatal := new(datatransfer.FatalError); !errors.Is(err, outbox.ErrClaimed) || !errors.As(err, &fatal) {
					t.Errorf("admit returned %v, want %v for good", err, outbox.ErrClaimed)
				}
				if took := time.Since(began); took.Round(presencePoll) != c.took {
					t.Errorf("refused after %s, want %s", took, c.took)
				}
				var left identity
				if err := json.Unmarshal([]byte(r.value), &left); err != nil || left.Instance == "i2" {
					t.Errorf("the status that is left is %q, want the rival's", r.value)
				}
			})
		})
	}
}

// Of two agents that start at the same time, beside a leftover or without one, one
// becomes LIVE and the other is refused.
func TestOfTwoStartsAtOnceOneIsRefused(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	for round := range 12 {
		r := server.Client()
		if err := r.FlushAll(context.Background()).Err(); err != nil {
			t.Fatal(err)
		}
		if round%2 == 0 {
			left, _ := json.Marshal(identity{Instance: "i0", Owner: "o0", Host: "box", Boot: "before"})
			if err := r.Set(context.Background(), statusKey, left, time.Hour).Err(); err != nil {
				t.Fatal(err)
			}
		}
		both := []*agentAt{
			present(t, testkit.Unhurried(server.URL()), "i1", "o1", time.Hour),
			present(t, testkit.Unhurried(server.URL()), "i2", "o2", time.Hour),
		}
		live, refused := 0, 0
		testkit.Eventually(t, "both are LIVE or refused", func() bool {
			live, refused = 0, 0
			for _, a := range both {
				switch s := a.link.Status(); {
				case s.State == datatransfer.Live:
					live++
				case s.State == datatransfer.Down && s.Detail != "":
					refused++
				}
			}
			return live+refused == 2
		})
		if live != 1 {
			t.Errorf("round %d: %d are LIVE, %d refused; want one each", round, live, refused)
		}
		for _, a := range both {
			if err := a.end(); err != nil && !errors.Is(err, outbox.ErrClaimed) {
				t.Errorf("round %d: Run returned %v", round, err)
			}
		}
	}
}
