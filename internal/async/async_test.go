package async

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCallsBeforeALookCountAsOne(t *testing.T) {
	w := NewWake()
	w.Call()
	w.Call()
	<-w
	select {
	case <-w:
		t.Error("got a second wake-up, want one")
	default:
	}
}

func TestAbandonReturnsWhatTheCallReturns(t *testing.T) {
	wrong := errors.New("wrong")
	n, err := Abandon(context.Background(), func() (int, error) { return 7, wrong })
	if n != 7 || !errors.Is(err, wrong) {
		t.Errorf("got %d, %v, want 7 and the call's own error", n, err)
	}
}

func TestAbandonDoesNotWaitForACallThatHangs(t *testing.T) {
	hung := make(chan struct{})
	defer close(hung)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := Abandon(ctx, func() (int, error) { <-hung; return 0, nil })
	if !errors.Is(err, ErrAbandoned) || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want it to wrap ErrAbandoned and the context's cause", err)
	}
}

func TestPauseEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if began := time.Now(); !Pause(ctx, time.Second) || time.Since(began) != time.Second {
			t.Errorf("paused for %v, want 1s", time.Since(began))
		}
		if Pause(ctx, time.Hour) {
			t.Error("a pause that was cut short counts as whole")
		}
	})
}
