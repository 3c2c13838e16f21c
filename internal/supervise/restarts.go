package supervise

import (
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/status"
)

// crashLoopAfter quick ends in a row are a crash loop.
const crashLoopAfter = 5

// Restarts decides when a program that ended is started again, and logs its ends.
// The pause doubles with every quick end, up to a bound; several quick ends in a
// row are a crash loop, which is logged once, and again when it is over. One
// goroutine may use it.
type Restarts struct {
	Name                   string // of the program, as the log calls it
	BackoffMin, BackoffMax time.Duration
	HealthyAfter           time.Duration  // a life this long forgives all quick ends before it
	Random                 func() float64 // in [0, 1), for the jitter

	quick    int    // ends in a row after less than HealthyAfter
	troubled bool   // a crash loop or failure has been logged, and is not over
	last     string // the reason of the last end
}

// Ended takes an end: what state the program is in now, and how long it is until
// the next start. One that needs a hand ends in the same way until somebody
// changes something, and is tried rarely.
func (r *Restarts) Ended(log *zerolog.Logger, reason string, life time.Duration, needsHand bool) (state status.ProcessState, wait time.Duration) {
	if life >= r.HealthyAfter {
		r.Healthy(log)
	}
	r.quick++
	again := r.quick > 1 && life == 0 && reason == r.last // it cannot even be started
	r.last = reason
	state, wait = status.ProcessBackoff, r.pause()
	level, message := zerolog.WarnLevel, " is down, restarting it"
	switch {
	case needsHand:
		state, wait = status.ProcessFailed, r.BackoffMax
		level, message = zerolog.ErrorLevel, " cannot run"
	case r.quick >= crashLoopAfter:
		state = status.ProcessCrashLoop
		level, message = zerolog.ErrorLevel, " is in a crash loop, restarting it slowly"
	}
	if r.troubled || again && state == status.ProcessBackoff { // what repeats itself is only counted in the status
		level, message = zerolog.DebugLevel, " is down, restarting it"
	}
	r.troubled = r.troubled || state != status.ProcessBackoff
	log.WithLevel(level).Str("reason", reason).Stringer("lived", life.Round(time.Millisecond)).
		Stringer("next_start_in", wait.Round(time.Millisecond)).Msg(r.Name + message)
	return state, wait
}

// Healthy is called when a process has lived for HealthyAfter.
func (r *Restarts) Healthy(log *zerolog.Logger) {
	if r.troubled {
		log.Info().Msg(r.Name + " runs steadily again")
	}
	r.Reset()
}

// Reset forgets the ends before.
func (r *Restarts) Reset() { r.quick, r.troubled = 0, false }

// Level is the level for what happens at every start: silent in a loop.
func (r *Restarts) Level() zerolog.Level {
	if r.troubled {
		return zerolog.DebugLevel
	}
	return zerolog.InfoLevel
}

// pause has a jitter of ±25 %, which keeps the programs of a box from starting in
// step after a common cause ended them.
func (r *Restarts) pause() time.Duration {
	wait := r.BackoffMin
	for i := 1; i < r.quick && wait < r.BackoffMax; i++ {
		wait *= 2
	}
	return min(time.Duration(float64(wait)*(0.75+r.Random()/2)), r.BackoffMax)
}
