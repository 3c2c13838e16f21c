package outbox

import (
	"fmt"
	"time"
)

// simRequest is a request to the camera, and what became of it.
type simRequest struct {
	id       string
	at       time.Duration
	life     int
	item     *Item // its answer, which is remembered
	x        *exposure
	answered bool
}

// patience is how long a request may wait while publishing is possible.
const simPatience = 10 * time.Second

// ask is one request, or one of those before repeated.
func (w *simWorld) ask() (wait, rest time.Duration) {
	if w.asking == 0 {
		return time.Second, 0
	}
	wait = w.rng.between(time.Millisecond, w.asking)
	life := w.life
	if life == nil || life.up() == nil { // it comes through Redis
		return wait, 0
	}
	if n := len(life.requests); n > 0 && w.rng.percent(20) {
		life.repeat(life.requests[w.rng.IntN(n)])
		return wait, 0
	}
	w.asked++
	w.counts.requests++
	life.request(&simRequest{id: fmt.Sprint("r", w.asked), at: w.now, life: w.lives})
	return wait, 0
}

// unanswered checks that no request waits although its answer could be published.
func (l *simLedger) unanswered() {
	life := l.world.life
	if life == nil {
		return
	}
	since := life.publishable()
	for _, r := range life.requests {
		if r.answered = r.answered || l.answered[r.id] > 0; !r.answered && l.world.now-max(r.at, since) > simPatience {
			l.fail("request %s of %s is not answered, although publishing is possible since %s", r.id, r.at, since)
		}
	}
}

// mayEnter reports whether an answer was published or refused, or cannot be.
func (w *simWorld) mayEnter(x *exposure) bool {
	answers, _ := w.life.publisher.Stats()
	return x.tried || w.life.muted || answers.Dropped > 0
}
