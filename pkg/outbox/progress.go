package outbox

import (
	"context"
	"sync"
	"time"
)

// progressInterval is how often a batch on its way is looked at.
const progressInterval = 50 * time.Millisecond

// progressWatch looks at a batch that takes long. Its timer is made once: most
// batches are over before the first look, and cost no more than setting it.
type progressWatch struct {
	mu     sync.Mutex // guards all below
	timer  *time.Timer
	every  time.Duration // between two looks
	acked  func() uint64 // bytes the peer's kernel has; nil: no batch is sent
	had    uint64        // those at the last look
	looked bool
}

// watched is a step that is watched while it sends. While no answer comes and the peer's
// kernel takes no bytes either, Redis may be frozen or the network gone, which the
// probe only finds when its time is over: until then frames would pile up in memory,
// where a kill or a power cut takes them. They go to disk instead. A slow line makes
// progress, and wears out no SD card. One goroutine sends.
func (l *Log) watched(acked func() uint64, step func() (time.Duration, error)) func() (time.Duration, error) {
	p := &l.progress
	return func() (time.Duration, error) {
		p.mu.Lock()
		p.acked, p.looked = acked, false
		if p.timer == nil {
			p.timer = time.AfterFunc(p.every, l.lookAtProgress)
		} else {
			p.timer.Reset(p.every)
		}
		p.mu.Unlock()
		wait, err := step()
		p.mu.Lock()
		defer p.mu.Unlock()
		p.acked = nil
		p.timer.Stop()
		l.setStuck(false)
		return wait, err
	}
}

// lookAtProgress is what the timer calls. One that comes too late finds no batch, or
// counts as the first look at the next.
func (l *Log) lookAtProgress() {
	p := &l.progress
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.acked == nil {
		return
	}
	now := p.acked()
	if p.looked && now == p.had {
		l.setStuck(true)
	}
	p.had, p.looked = now, true
	p.timer.Reset(p.every)
}

func (l *Log) setStuck(is bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if is && !l.stuck {
		l.spoolable.Call()
	}
	l.stuck = is
}

// idle is how long to wait until there is something to do.
const idle = -time.Second

// drive calls step until ctx ends or step fails, and waits between two calls as long as
// it says; idle: until wake.
func drive(ctx context.Context, wake <-chan struct{}, step func() (time.Duration, error)) error {
	for ctx.Err() == nil {
		wait, err := step()
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		case wait == idle:
			await(ctx, wake)
		case wait > 0:
			pause(ctx, wait)
		}
	}
	return nil
}

// await waits for a wake-up; false when ctx ends first.
func await(ctx context.Context, wake <-chan struct{}) bool {
	select {
	case <-wake:
		return true
	case <-ctx.Done():
		return false
	}
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
