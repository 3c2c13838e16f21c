package camera

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestPacerDoesNotDrift(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewTicker(29.97)
		start := time.Now()
		for n := uint64(1); n <= 2998; n++ {
			slot, err := p.Wait(t.Context(), nil)
			if err != nil || slot != n {
				t.Fatalf("Wait = %d, %v; want %d", slot, err, n)
			}
			time.Sleep(3 * time.Millisecond) // the frame's rendering
		}
		want := time.Duration(2997 / 29.97 * float64(time.Second))
		if took := time.Since(start) - 3*time.Millisecond; (took - want).Abs() > time.Microsecond {
			t.Errorf("2998 slots took %v, want %v", took, want)
		}
	})
}

func TestPacerDoesNotBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewTicker(100)
		start := time.Now()
		for range 3 {
			_, _ = p.Wait(t.Context(), nil)
		}
		time.Sleep(5*time.Second + 7*time.Millisecond)
		last := time.Now()
		for i, want := range []uint64{504, 505, 506} { // 5.027 s after the start; slot 504 is due at 5.03
			slot, err := p.Wait(t.Context(), nil)
			if err != nil || slot != want {
				t.Errorf("Wait %d after the pause = %d, %v; want %d", i, slot, err, want)
			}
			if due := start.Add(time.Duration(want-1) * 10 * time.Millisecond); !time.Now().Equal(due) {
				t.Errorf("slot %d came at %v, want %v", slot, time.Since(start), due.Sub(start))
			}
			if i > 0 && time.Since(last) < 10*time.Millisecond {
				t.Errorf("slot %d came %v after the one before, want 10ms", slot, time.Since(last))
			}
			last = time.Now()
		}
	})
}

func TestPacerEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewTicker(0.1)
		stop := make(chan struct{})
		_, _ = p.Wait(t.Context(), stop)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := p.Wait(ctx, stop); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Wait = %v, want DeadlineExceeded", err)
		}
		time.AfterFunc(time.Second, func() { close(stop) })
		if _, err := p.Wait(t.Context(), stop); !errors.Is(err, ErrClosed) {
			t.Errorf("Wait = %v, want ErrClosed", err)
		}
	})
}
