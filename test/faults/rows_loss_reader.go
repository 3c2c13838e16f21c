package main

import (
	"path/filepath"
	"syscall"
	"time"

	"framekeeper/internal/testkit/proctest"
	"framekeeper/internal/testkit/redistest"
)

// readerRows stop a real client with SIGSTOP, for longer and for less long than
// the stream reaches back.
func readerRows() []*lossRow {
	return []*lossRow{
		{name: "slow consumer, within stream_max_bytes", run: func(s *scene) { slowConsumer(s, pick(s, "512MiB", "64MiB"), false) }},
		{name: "slow consumer, beyond stream_max_bytes", run: func(s *scene) { slowConsumer(s, pick(s, "48MiB", "6MiB"), true) }},
	}
}

func slowConsumer(s *scene, bound string, trims bool) {
	s.set("stream_max_bytes", bound)
	s.set("retain_bytes", "4MiB") // full before the first look at the memory
	s.serve(redistest.Start(s))
	s.prepare()
	summary := filepath.Join(s.dir, "summary")
	client := s.startClient(summary)
	s.begin()
	s.wait(pick(s, 5*time.Second, 2*time.Second))

	before := s.agent.Footprint()
	if err := syscall.Kill(client.PID, syscall.SIGSTOP); err != nil {
		s.Fatalf("stop the client: %v", err)
	}
	s.wait(pick(s, 60*time.Second, 4*time.Second))
	after := s.agent.Footprint()
	if err := flat(before, after); err != nil {
		s.problem("%v", err)
	}
	s.figure("agent %d MiB before, %d MiB after", before.RSSKiB>>10, after.RSSKiB>>10)
	if err := syscall.Kill(client.PID, syscall.SIGCONT); err != nil {
		s.Fatalf("wake the client: %v", err)
	}
	s.fill()
	s.stop()
	last := s.ends[s.epoch()].Seq
	s.pause(pick(s, 10*time.Second, 3*time.Second)) // until the client has read everything
	if err := client.End(syscall.SIGTERM); (err != nil) != trims {
		s.problem("the client ended with %v; frames were trimmed: %v", err, trims)
	}
	s.clientBooks(summary, last, trims)
	s.launch() // for close, which ends it once more
}

// startClient starts a client that reads from the stream's beginning, for it is
// there first.
func (s *scene) startClient(summary string) *proctest.Process {
	client, err := proctest.Spawn(s.dir, nil, "sh", "-c", `exec "$0" run --config config.toml --no-requests --no-store >"$1"`, s.bin.client(), summary)
	if err != nil {
		s.Fatalf("%v", err)
	}
	s.Cleanup(func() { _ = client.End(syscall.SIGKILL) })
	s.until("client", func() bool { return len(s.server.Clients("pubsub")) > 0 })
	return client
}

// clientBooks compares the client's own account with the IDs given.
func (s *scene) clientBooks(summary string, last uint64, trims bool) {
	figures := map[string]uint64{}
	for _, label := range []string{"frames", "trimmed", "declared", "undeclared", "duplicates", "corrupt"} {
		n, err := clientFigure(summary, label)
		if err != nil {
			s.problem("%v", err)
		}
		figures[label] = n
	}
	s.figure("client: %d frames, %d trimmed", figures["frames"], figures["trimmed"])
	if sum := figures["frames"] + figures["trimmed"]; sum != last {
		s.problem("the client accounts for %d frames of %d: %v", sum, last, figures)
	}
	if (figures["trimmed"] > 0) != trims {
		s.problem("the client reports %d trimmed frames, want some: %v", figures["trimmed"], trims)
	}
	if n := figures["declared"] + figures["undeclared"] + figures["duplicates"] + figures["corrupt"]; n > 0 {
		s.problem("the client reports %v", figures)
	}
}
