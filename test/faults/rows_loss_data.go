package main

import (
	"strconv"
	"time"

	"framekeeper/internal/testkit/proctest"
	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/outbox"
	"framekeeper/pkg/redisconn"
)

// dataRows take the stream's data away under a live session, or with Redis,
// while one reader lags.
func dataRows() []*lossRow {
	flush := func(s *scene) { s.server.Do("FLUSHALL") }
	remove := func(s *scene) { s.server.Do("DEL", "frames:"+cameraName) }
	restarted := func(s *scene) {
		s.server.Kill()
		s.wait(500 * time.Millisecond)
		s.server.Restart()
	}
	return []*lossRow{
		dataRow("data lost: FLUSHALL", "32MiB", false, flush),
		dataRow("data lost: DEL of the stream", "32MiB", false, remove),
		dataRow("data lost: FLUSHALL, little retained", "1MiB", true, flush),
		dataRow("data lost: Redis restarted without persistence", "32MiB", false, restarted),
		{name: "eviction (allkeys-lru)", run: evicted},
	}
}

// dataRow loses the data while a reader is some hundred frames behind. What the
// agent retained comes back; what it did not is declared to that reader.
func dataRow(name, retain string, declares bool, lose func(*scene)) *lossRow {
	return &lossRow{name: name, run: func(s *scene) {
		s.set("retain_bytes", retain)
		s.serve(redistest.Start(s))
		s.begin()
		l := s.lag()
		s.wait(pick(s, 5*time.Second, time.Second))
		at := time.Now()
		lose(s)
		s.drain(startLimit)
		s.figure("frames flow again after %s ms", ms(time.Since(at)))
		s.wait(time.Second)
		l.release()
		s.fill()
		s.atEnd = func() {
			most := uint64(0)
			if declares {
				most = pick[uint64](s, 3, 30) // added and flushed before they could be read, and not retained; on a busy machine the reader is late
			}
			if n := s.watcher.consumer.Stats().Declared; n > most {
				s.problem("%d lost frames were declared to the reader in step, want %d at most", n, most)
			}
			got := l.consumer.Stats()
			if (got.Declared > 0) != declares {
				s.problem("%d lost frames were declared to the laggard, want some: %v", got.Declared, declares)
			}
			if got.Trimmed > 0 {
				s.problem("the laggard takes %d frames for trimmed", got.Trimmed)
			}
		}
	}}
}

// evicted lets Redis throw the stream out again and again. The agent may add it
// again, but less and less often, and has to say what is wrong.
func evicted(s *scene) {
	s.serve(redistest.Start(s))
	s.begin()
	l := s.lag()
	used, err := strconv.Atoi(s.server.Info("memory")["used_memory"])
	if err != nil {
		s.Fatalf("read used_memory: %v", err)
	}
	hurt := time.Now()
	s.server.ConfigSet("maxmemory-policy", "allkeys-lru")
	s.server.ConfigSet("maxmemory", strconv.Itoa(used+2<<20))
	s.logged(hurt, 30*time.Second, "that the stream keeps vanishing",
		func(e proctest.Event) bool {
			return e.Msg == msgRefused && e.Cause == string(outbox.CauseEvicted)
		})
	s.figure("loud after %s ms", ms(time.Since(hurt)))
	s.wait(pick(s, 15*time.Second, time.Second))
	vanished := s.status().Stream.Vanished
	// 1 s, 2 s, 4 s …: in the time watched that is not more than this.
	most := uint64(2)
	for wait, sum := 1.0, 0.0; sum < time.Since(hurt).Seconds(); wait *= 2 {
		sum += wait
		most++
	}
	if vanished < 2 || vanished > most {
		s.problem("the stream vanished %d times in %s, want 2 to %d", vanished, time.Since(hurt), most)
	}
	s.server.ConfigSet("maxmemory", "0")
	s.server.ConfigSet("maxmemory-policy", "noeviction")
	healed := time.Now()
	took := s.drain(90 * time.Second)
	s.figure("seeded %d times, frames flow %s ms after the heal", vanished, ms(took))
	s.logged(healed, time.Second, "that Redis accepts frames again", func(e proctest.Event) bool { return e.Msg == msgAccepted })
	l.release()
	s.fill()
}

// refusalRows are states in which Redis refuses entries, and replies that are
// lost. They are the link's rows, with readers that count.
func refusalRows() []*lossRow {
	var all []*lossRow
	for _, f := range stateRows() {
		all = append(all, &lossRow{name: "entries refused: " + f.name, run: func(s *scene) { s.refusing(f) }})
	}
	return append(all, &lossRow{name: "replies to XADD lost", run: repliesLost})
}

// refusing hurts as a row of the link does. OOM lasts until the agent has made
// room by halving its own stream; the laggard reads that.
func (s *scene) refusing(f *fault) {
	f.world(s.rig)
	s.begin()
	l := s.lag()
	s.wait(time.Second)
	hold := pick(s, 4*time.Second, 1500*time.Millisecond)
	oom := f.causes[0] == redisconn.CauseOOM
	if oom && !s.short {
		hold = 14 * time.Second // the agent's patience is 10 s
	}
	at := time.Now()
	f.hurt(s.rig)
	s.wait(hold)
	f.heal(s.rig)
	took := s.drain(startLimit)
	s.figure("frames flow %s ms after the heal", ms(took))
	if len(f.causes) > 0 && !loggedCause(s.agent.Since(at), f.causes) {
		s.problem("cause logged: %v, want one of %q", causesOf(s.agent.Since(at)), f.causes)
	}
	l.release()
	s.fill()
	if oom && !s.short && s.status().Stream.Trimmed == 0 {
		s.problem("the agent did not trim its stream to make room")
	}
}

// repliesLost loses the reply to an XADD that Redis has carried out, again and
// again.
func repliesLost(s *scene) {
	s.behindProxy()
	s.begin()
	n := pick(s, 20, 3)
	for range n {
		select {
		case <-s.proxy.LoseReplyAfter([]byte("nomkstream")):
		case <-time.After(5 * time.Second):
			s.Fatalf("no XADD came by")
		}
		s.drain(startLimit)
	}
	s.figure("%d replies lost", n)
	s.fill()
}

// writerRows bring a second writer.
func writerRows() []*lossRow {
	return []*lossRow{
		{name: "foreign writer (XADD *)", run: foreignWriter},
		{name: "second agent, same state_dir", run: func(s *scene) { secondAgent(s, true) }},
		{name: "second agent, another state_dir", run: func(s *scene) { secondAgent(s, false) }},
	}
}

// foreignWriter adds an entry far above the agent's IDs. Nothing but an
// operator can end that, as the agent's words say.
func foreignWriter(s *scene) {
	s.serve(redistest.Start(s))
	s.begin()
	at := time.Now()
	s.server.Do("XADD", "frames:"+cameraName, "*", "who", "me")
	s.logged(at, 5*time.Second, "that there is a conflict",
		func(e proctest.Event) bool {
			return e.Msg == msgRefused && e.Cause == string(outbox.CauseConflict)
		})
	s.figure("loud after %s ms", ms(time.Since(at)))
	s.wait(pick(s, 5*time.Second, 1500*time.Millisecond))
	if st := s.status(); !st.Stream.Conflict || st.Stream.Writable {
		s.problem("status says %+v, want a conflict", st.Stream)
	}
	s.server.Do("DEL", "frames:"+cameraName)
	s.expected.Corrupt, s.expected.Restarts = 1, 1 // the foreign entry; then the stream begins anew below it
	s.drain(30 * time.Second)
	s.fill()
}

// secondAgent is refused, and the first is unharmed.
func secondAgent(s *scene, sameState bool) {
	s.serve(redistest.Start(s))
	s.begin()
	for n := range pick(s, 5, 1) {
		dir := s.TempDir()
		state, spool := s.stateDir, s.spoolDir
		if !sameState {
			state, spool = dir+"/state", dir+"/spool"
		}
		s.writeConfig(dir+"/config.toml", state, spool)
		at := time.Now()
		second, err := proctest.Spawn(dir, s.log, s.bin.agent, "--config", dir+"/config.toml")
		if err != nil {
			s.Fatalf("%v", err)
		}
		select {
		case <-second.Exited:
			s.figure("refused after %s ms", ms(time.Since(at)))
		case <-time.After(10 * time.Second):
			s.problem("the second agent number %d is not refused", n+1)
		}
		if err := second.End(9); err == nil {
			s.problem("the second agent ended as if nothing was wrong")
		}
		said := second.Said()
		if !contains(said+second.Tail(10), outbox.ErrClaimed.Error()) {
			s.problem("the second agent does not say why: %s", said)
		}
		for _, e := range s.agent.Since(at) {
			if e.Level != "info" {
				s.problem("the first agent was disturbed: %s", e.Text)
			}
		}
		s.drain(time.Second)
	}
	s.fill()
}
