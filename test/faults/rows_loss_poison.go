package main

import (
	"time"

	"framekeeper/pkg/frame"
)

// What an item that Redis never accepts may cost.
const (
	poisonBudget = 5 * time.Second // until it is declared
	poisonLines  = 10              // of the agent's log, altogether
)

// poisonRows let Redis, or a proxy before it, take no frame of this size any more:
// each ends the connection instead. Afterwards the limit is taken away.
func poisonRows() []*lossRow {
	const least = "1048576" // Redis takes no smaller limit
	setting := func(key, usual string) *lossRow {
		set := func(value string) func(*scene) { return func(s *scene) { s.server.ConfigSet(key, value) } }
		return poisonRow(key, set(least), set(usual))
	}
	return []*lossRow{
		setting("proto-max-bulk-len", "536870912"),
		setting("client-query-buffer-limit", "1073741824"),
		poisonRow("a proxy's buffer", func(s *scene) { s.proxy.CutLarge(1 << 20) }, func(s *scene) { s.proxy.CutLarge(0) }),
	}
}

func poisonRow(limit string, impose, lift func(*scene)) *lossRow {
	return &lossRow{name: "an item Redis never accepts: " + limit, run: func(s *scene) {
		s.fps, s.width, s.height = 5, 832, 468 // 1.2 MB
		s.set("stream_max_bytes", "256MiB")    // so that a reader on a busy machine is in step,
		s.set("retain_bytes", "128MiB")        // and a request that it repeats is remembered
		s.behindProxy()
		s.begin()
		refused, unanswered := s.watcher.errors()
		at := time.Now()
		impose(s)
		if s.watcher.await(s.ctx, startLimit, s.anyDeclared) {
			s.figure("declared after %s ms", ms(time.Since(at)))
		}
		if took := time.Since(at); took > pick(s, poisonBudget, shortSlack*poisonBudget) {
			s.problem("nothing was declared for %s ms, budget %s ms", ms(took), ms(poisonBudget))
		}
		s.wait(pick(s, 10*time.Second, 4*time.Second))
		events := s.agent.Since(at)
		outages := 0
		for _, e := range events {
			if e.Msg == msgLost {
				outages++
			}
		}
		now, nothing := s.watcher.errors()
		s.figure("%d outages, %d log lines, %d requests got an error", outages, len(events), now-refused)
		if len(events) > poisonLines {
			s.problem("%d log lines, want %d at most:\n%s", len(events), poisonLines, s.agent.Tail(len(events)))
		}
		if now == refused || nothing > unanswered {
			s.problem("%d requests got an error and %d nothing, want some and none", now-refused, nothing-unanswered)
		}
		lift(s)
		s.proxy.ResetAll() // the next session looks again
		s.drain(startLimit)
		s.fill()
		s.declares(1)
	}}
}

// anyDeclared reports whether the reader in step has a declaration of a loss. The caller holds
// the watcher's mu.
func (s *scene) anyDeclared() bool {
	for _, shot := range s.watcher.shots {
		if shot.status == frame.StatusDropped {
			return true
		}
	}
	return false
}
