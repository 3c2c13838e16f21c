package main

import (
	"slices"
	"time"

	"framekeeper/internal/testkit/proctest"
	"framekeeper/internal/testkit/redistest"
)

// What a kill may cost, by the time of exposure. The time between two frames,
// and what a busy machine adds to any measurement, are part of each.
const (
	inFlight     = 100 * time.Millisecond // made, and on its way to Redis or to the disk
	notYetOnDisk = 200 * time.Millisecond // the spool's pause, and a write of a full group
)

// killNineRows kill the agent in each state, in both sync modes.
func killNineRows() []*lossRow {
	var all []*lossRow
	for _, sync := range []string{"batch", "always"} {
		for _, state := range []struct {
			name string
			once func(s *scene, always bool)
		}{{"LIVE", killLive}, {"Redis away", killAway}, {"draining", killDraining}} {
			all = append(all, &lossRow{name: "kill -9, " + state.name + ", sync " + sync, run: func(s *scene) {
				s.set("sync", sync)
				s.behindProxy()
				s.begin()
				for range pick(s, 20, 1) {
					state.once(s, sync == "always")
					s.drain(startLimit)
				}
				s.fill()
				s.atEnd = s.killFigures
			}})
		}
	}
	return all
}

// within is a random part of a time.
func (s *scene) within(d time.Duration) time.Duration {
	return time.Duration(s.random.Int64N(int64(d)))
}

func killLive(s *scene, _ bool) {
	s.wait(500*time.Millisecond + s.within(500*time.Millisecond))
	s.killNine("LIVE", inFlight)
	s.relaunch()
}

func killAway(s *scene, always bool) {
	s.away()
	s.wait(500*time.Millisecond + s.within(time.Second))
	window := notYetOnDisk
	if always {
		window = inFlight
	}
	s.killNine("Redis away", window)
	s.relaunch()
	s.wait(200*time.Millisecond + s.within(300*time.Millisecond))
	s.back()
}

// drainRate is four times what the camera gives, in bytes a second: a backlog of
// two seconds lasts for most of one.
const drainRate = 4 * 50 * frameBytes

// killDraining hits the agent while it works off what it had kept. With sync
// batch, frames exposed after Redis was back are in memory only until those
// before them are out.
func killDraining(s *scene, always bool) {
	s.away()
	s.wait(2 * time.Second)
	s.proxy.Limit(redistest.ToServer, drainRate)
	healed := s.back()
	back, ok := s.agent.Await(s.ctx, healed, startLimit, func(e proctest.Event) bool { return e.Msg == msgBack })
	if !ok {
		s.Fatalf("the agent did not come back; its log:\n%s", s.agent.Tail(20))
	}
	s.wait(s.within(700 * time.Millisecond))
	window := inFlight
	if !always {
		window = time.Since(back.At) + notYetOnDisk
	}
	s.killNine("draining", window)
	s.proxy.Limit(redistest.ToServer, 0)
	s.relaunch()
}

// killFigures are what the kills took along.
func (s *scene) killFigures() {
	for state, tails := range s.tails {
		all := spreadOfTimes(tails)
		frames := 0
		for _, t := range tails {
			frames += int(t / s.interval())
		}
		s.figure("%d kills %s: last frame kept %s ms before (p50/p99/worst), %d frames gone", len(tails), state, all, frames)
	}
	slices.Sort(s.figures)
}
