package agent

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/testkit"
)

// The disk takes the spool after a minute, and what is unsent is out after two.
func TestSpoolRecoveryRestartsWhenNothingIsLostByIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, began := &testkit.Log{}, time.Now()
		var restarted time.Duration
		r := &spoolRecovery{
			refusal: func() string { return map[bool]string{true: "the disk is full"}[time.Since(began) < time.Minute] },
			drained: func() bool { return time.Since(began) >= 2*time.Minute },
			restart: func() { restarted = time.Since(began) },
			log:     zerolog.New(log),
		}
		_ = r.run(t.Context())
		if restarted < 2*time.Minute || restarted > 2*time.Minute+retryMin {
			t.Errorf("restarted after %v, want as soon as nothing is unsent", restarted)
		}
		r.restart, r.drained = nil, nil // nobody would start it again
		_ = r.run(t.Context())
		want := "The spool can be used now: restarting the agent with it; The spool can be used now: restart the agent to use it"
		if got := strings.Join(log.Messages(), "; "); got != want {
			t.Errorf("logged %q, want %q", got, want)
		}
	})
}

func TestSpoolRecoveryEndsWithTheAgent(t *testing.T) {
	for name, refusal := range map[string]string{"while the disk refuses": "the disk is full", "while frames are unsent": ""} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				r := &spoolRecovery{
					refusal: func() string { return refusal }, drained: func() bool { return false },
					restart: func() { t.Error("it restarts") }, log: zerolog.Nop(),
				}
				if err := r.run(ctx); err != nil || ctx.Err() == nil {
					t.Errorf("run returned %v before its context ended", err)
				}
			})
		})
	}
}

func TestRetryReportsEachReasonOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, tries := time.Now(), 0
		var reasons []string
		ok := retry(t.Context(), func() error {
			tries++
			switch since := time.Since(began); {
			case since < 10*time.Second:
				return errors.New("full")
			case since < 20*time.Second:
				return errors.New("read-only")
			}
			return nil
		}, func(err error) { reasons = append(reasons, err.Error()) })
		if got := strings.Join(reasons, " "); !ok || got != "full read-only" || tries > 16 || time.Since(began) > 20*time.Second+retryMax {
			t.Errorf("got %v after %v and %d tries, reasons %s", ok, time.Since(began), tries, got)
		}
	})
}
