package main

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/frame"
)

// trouble is one fault of the storm, from its beginning to its end.
type trouble struct {
	name string
	hurt func(s *scene)
	heal func(s *scene) // nil: nothing to mend
	// dataGoes: what Redis had is gone, and only the agent's memory can replace
	// it. Nobody kills the agent before it has.
	dataGoes bool
}

// stormMode hurts one agent at random in every way, often two at once. The same
// seed plans the same storm.
func (o *options) stormMode() error {
	b := &bench{name: "storm", out: o.notes}
	s := o.newScene(b, 0)
	counts := map[string]int{}
	var res lossResult
	if err := b.run(func() {
		o.storm(s, counts)
		s.close(&res)
	}); err != nil {
		s.problem("%v", err)
	}
	fmt.Fprintf(o.out, "%.1f minutes of random faults at %d fps, seed %d\n", o.minutes, s.fps, o.seed)
	names := make([]string, 0, len(counts))
	for name := range counts {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(o.out, "  %3d  %s\n", counts[name], name)
	}
	s.killFigures()
	for _, figure := range s.figures {
		fmt.Fprintln(o.out, figure)
	}
	fmt.Fprintf(o.out, "in step: %s\n", res.Books)
	if res.Laggard != nil {
		fmt.Fprintf(o.out, "lagging: %s\n", *res.Laggard)
	}
	res.Problems = s.problems
	return o.finish(res, s.problems)
}

// redisTroubles hurt Redis or the way to it.
func redisTroubles() []trouble {
	simple := func(name string, do func(s *scene)) trouble { return trouble{name: name, hurt: do} }
	return []trouble{
		{name: "Redis away", hurt: (*scene).away, heal: func(s *scene) { s.back() }},
		{name: "Redis killed and restarted (AOF)", hurt: func(s *scene) { s.server.Kill() }, heal: func(s *scene) { s.server.Restart() }},
		{name: "Redis frozen", hurt: func(s *scene) { s.server.Freeze() }, heal: func(s *scene) { s.server.Thaw() }},
		{name: "OOM", hurt: func(s *scene) { s.server.ConfigSet("maxmemory", "1mb") }, heal: func(s *scene) { s.server.ConfigSet("maxmemory", "0") }},
		{name: "line stalled", hurt: func(s *scene) { s.proxy.Stall(redistest.Both) }, heal: func(s *scene) { s.proxy.Unstall(redistest.Both) }},
		{
			name: "slow line",
			hurt: func(s *scene) { s.proxy.Limit(redistest.ToServer, s.fps*frameBytes*3/2) },
			heal: func(s *scene) { s.proxy.Limit(redistest.ToServer, 0) },
		},
		simple("CLIENT KILL normal", func(s *scene) { s.server.KillClients("normal") }),
		simple("CLIENT KILL pubsub", func(s *scene) { s.server.KillClients("pubsub") }),
		simple("reply to XADD lost", func(s *scene) { s.proxy.LoseReplyAfter([]byte("nomkstream")) }),
		{name: "foreign writer", hurt: (*scene).intrude, dataGoes: true},
		{name: "FLUSHALL", hurt: func(s *scene) { s.server.Do("FLUSHALL") }, dataGoes: true},
		{name: "DEL of the stream", hurt: func(s *scene) { s.server.Do("DEL", "frames:"+cameraName) }, dataGoes: true},
	}
}

const stormDisk = "512m"

// boxTroubles hurt the agent and its disk.
func boxTroubles() []trouble {
	return []trouble{
		{name: "agent killed -9", hurt: func(s *scene) { s.stormKill() }},
		{name: "agent restarted in order", hurt: func(s *scene) { s.stop(); s.relaunch() }},
		{name: "a reader held back", hurt: func(s *scene) { s.laggard.hold() }, heal: func(s *scene) { s.laggard.release() }},
		{name: "spool torn between two starts", hurt: (*scene).tearSome},
		{name: "disk read-only", hurt: func(s *scene) { s.remount(unix.MS_RDONLY, stormDisk) }, heal: func(s *scene) { s.remount(0, stormDisk) }},
	}
}

// intrude writes into the agent's stream, and after a while removes it, as an
// operator would.
func (s *scene) intrude() {
	s.server.Do("XADD", "frames:"+cameraName, "*", "who", "me")
	s.expected.Corrupt++
	s.expected.Restarts++
	s.wait(1500 * time.Millisecond)
	s.server.Do("DEL", "frames:"+cameraName)
}

// tearSome damages the spool, if there is enough in it: no more than its three
// frames may be declared lost.
func (s *scene) tearSome() {
	s.away()
	s.wait(1500 * time.Millisecond)
	s.stop()
	if files := s.spooled(); len(files) > 10 {
		cut, flip, gone := files[2], files[len(files)/2], files[len(files)-2]
		s.torn = append(s.torn, s.frameOf(cut), s.frameOf(flip), s.frameOf(gone))
		s.tear(cut, flip, gone)
	}
	s.relaunch()
	s.back()
}

// tornAndLost is how many of the damaged frames are lost. The spool also holds
// frames that Redis took just before it went away, or took out of its socket
// when it was thawed, and whose reply never came: nobody misses their files.
func (s *scene) tornAndLost(w *watcher) (lost, had uint64) {
	epochs, _ := ledgerOf(w.seen())
	for _, id := range s.torn {
		if e := epochs[id.Epoch]; e != nil && e.ids[id.Seq] == isDelivered {
			had++
		} else {
			lost++
		}
	}
	return lost, had
}

// frameOf is the ID of a frame's file.
func (s *scene) frameOf(file string) frame.ID {
	id, err := frame.ParseID(strings.TrimSuffix(filepath.Base(file), ".frame"))
	if err != nil {
		s.Fatalf("read name of spooled file: %v", err)
	}
	return id
}

// stormKill allows for what may be in memory only: on a slow line, or while a
// backlog drains, that is up to half of retain_bytes.
func (s *scene) stormKill() {
	const half = 16 << 20
	window := time.Duration(half/frameBytes)*s.interval() + notYetOnDisk
	s.killNine("in the storm", window)
	s.relaunch()
}

// storm plans one trouble after the other, and into many of them a second one.
func (o *options) storm(s *scene, counts map[string]int) {
	s.fps, s.target = 30, int(o.minutes*60*30/2)
	if mountsAvailable() == nil {
		s.smallDisk(stormDisk)
	}
	s.set("stream_max_bytes", "128MiB")
	s.behindProxy(redistest.WithAOF("always"))
	s.begin()
	s.lag().release()
	s.atEnd = func() {
		want, had := s.tornAndLost(s.watcher)
		if got := s.watcher.consumer.Stats().Declared; got != want {
			s.problem("%d frames were declared lost, want %d: %d were damaged, and Redis had %d of them", got, want, len(s.torn), had)
		}
	}
	plan := rand.New(rand.NewPCG(o.seed, 1))
	some := func(least, most time.Duration) time.Duration {
		return least + time.Duration(plan.Int64N(int64(most-least)))
	}
	redis, box := redisTroubles(), boxTroubles()
	if mountsAvailable() != nil {
		box = box[:len(box)-1]
	}
	end := time.Now().Add(time.Duration(o.minutes * float64(time.Minute)))
	for n := 1; time.Now().Before(end); n++ {
		first, second := redis[plan.IntN(len(redis))], box[plan.IntN(len(box))]
		before, after, calm := some(200*time.Millisecond, 3*time.Second), some(200*time.Millisecond, 3*time.Second), some(100*time.Millisecond, 4*time.Second)
		both := plan.IntN(2) == 0
		if plan.IntN(5) == 0 {
			first, both = second, false
		}
		fmt.Fprintf(o.notes, "%4d %s, both %v: %s\n", n, first.name, both, second.name)
		counts[first.name]++
		s.strike(first, second, both, before, after)
		if both {
			counts[second.name]++
		}
		s.wait(calm)
	}
}

// strike does one trouble, with or without a second one in its midst.
func (s *scene) strike(first, second trouble, both bool, before, after time.Duration) {
	if first.dataGoes || plainKill(first) {
		s.drain(time.Minute) // what only one place holds must have been read before
	}
	first.hurt(s)
	s.wait(before)
	if first.dataGoes {
		s.drain(90 * time.Second)
	}
	if both {
		second.hurt(s)
		s.wait(after)
		if second.heal != nil {
			second.heal(s)
		}
	}
	if first.heal != nil {
		first.heal(s)
	}
	s.drain(90 * time.Second)
}

func plainKill(t trouble) bool { return t.name == "agent killed -9" }
