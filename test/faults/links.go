package main

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/redisconn"
)

// linksMode measures what many links do to one Redis: all at once after its
// restart, and idle.
func (o *options) linksMode() error {
	var wrong []string
	b := &bench{name: "links", out: o.notes}
	err := b.run(func() { wrong = o.manyLinks(&rig{bench: b, ctx: o.ctx}) })
	if err != nil {
		return err
	}
	return o.finish(nil, wrong)
}

// herd is many links in this process.
type herd struct {
	links []*datatransfer.Link
	wg    sync.WaitGroup
}

func startHerd(ctx context.Context, url string, n int) *herd {
	h := &herd{}
	cfg := redisconn.Default()
	cfg.URL = url
	for i := range n {
		name := "herd" + strconv.Itoa(i)
		l := datatransfer.NewLink(datatransfer.LinkConfig{
			Redis: cfg, Name: name, Log: zerolog.Nop(),
			Subscriptions: []datatransfer.Subscription{{Channel: "request/" + name, Handle: func([]byte, time.Time) {}}},
		})
		h.links = append(h.links, l)
		h.wg.Go(func() { _ = l.Run(ctx) })
	}
	return h
}

// allLive waits until every link is LIVE and returns when each became it.
func (h *herd) allLive(ctx context.Context) (times []time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, l := range h.links {
		if err := l.WaitLive(ctx); err != nil {
			return nil, err
		}
		times = append(times, l.Status().Since)
	}
	return times, nil
}

func (o *options) manyLinks(r *rig) (wrong []string) {
	server := redistest.Start(r)
	ctx, cancel := context.WithCancel(o.ctx)
	h := startHerd(ctx, server.URL(), o.links)
	r.Cleanup(func() { cancel(); h.wg.Wait() })
	if _, err := h.allLive(ctx); err != nil {
		r.Fatalf("%v", err)
	}
	o.idleCost(r, server)

	server.Kill()
	r.pause(2 * time.Second) // until all are in their longest backoff
	server.Restart()
	times, err := h.allLive(ctx)
	if err != nil {
		r.Fatalf("%v", err)
	}
	_, cpu := load(server)
	var after []time.Duration
	for _, t := range times {
		after = append(after, max(t.Sub(server.AcceptedAt()), 0))
	}
	s := spreadOfTimes(after)
	fmt.Fprintf(o.out, "%d links after a restart: LIVE %s ms after Redis accepts (p50/p99/worst); until then Redis used %.3f s of CPU\n",
		o.links, s, cpu)
	for _, l := range h.links {
		if st := l.Status(); st.Outages != 1 || st.State != datatransfer.Live {
			wrong = append(wrong, fmt.Sprintf("a link is %s after %d losses (%s), want LIVE after 1", st.State, st.Outages, st.LastOutage.Cause))
		}
	}
	if s.worst > herdLimit {
		wrong = append(wrong, fmt.Sprintf("the last link took %s ms, at most %s are allowed", ms(s.worst), ms(herdLimit)))
	}
	return wrong
}

// herdLimit is how long the last of all links may take to come back.
const herdLimit = 2 * time.Second

// idleCost prints what probes cost Redis while nothing else happens.
func (o *options) idleCost(r *rig, server *redistest.Server) {
	const idle = 20 * time.Second
	commands, cpu := load(server)
	r.pause(idle)
	commandsThen, cpuThen := load(server)
	fmt.Fprintf(o.out, "%d links idle for %s: %.0f commands/s, %.2f %% of a core of Redis, %d connections\n",
		o.links, idle, (commandsThen-commands)/idle.Seconds(), (cpuThen-cpu)/idle.Seconds()*100, len(server.Clients("")))
}

// load is how many commands Redis has served, and for how much CPU.
func load(server *redistest.Server) (commands, cpuSeconds float64) {
	number := func(section, key string) float64 {
		v, _ := strconv.ParseFloat(server.Info(section)[key], 64)
		return v
	}
	return number("stats", "total_commands_processed"), number("cpu", "used_cpu_user") + number("cpu", "used_cpu_sys")
}
