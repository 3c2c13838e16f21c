package controller

import (
	"fmt"
	"time"

	"framekeeper/internal/agentapi"
	"framekeeper/internal/cli"
	"framekeeper/internal/redisserver"
	"framekeeper/internal/status"
	"framekeeper/internal/telemetry"
	"framekeeper/internal/web"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/redisconn"
)

// reporter asks all parts how they are, for whoever wants to see the box: page,
// commands, metrics, systemd.
type reporter struct {
	conf     *configuration
	began    time.Time
	agents   func() []status.Process
	link     *replaceable[*boxLink]
	server   *replaceable[*redisserver.Server]
	orphans  *orphans
	disks    *disks
	outcomes *outcomes

	sightings *sightings
	history   *telemetry.History
}

// report is the box as the page shows it.
func (r *reporter) report() web.Report {
	cfg, side, now := r.conf.get(), r.link.get(), time.Now()
	s := side.link.Status()
	link := status.LinkOf(s)
	if s.Cause == redisconn.CauseRefused && r.server.get() != nil {
		link.Advice = "the box's own Redis is started again automatically; why it does not run stands beside it"
	}
	var shared []string
	for _, other := range side.rivals.Alive() {
		shared = append(shared, other.Shown())
	}
	report := web.Report{
		Report: status.Report{
			Head: status.Head{
				Box: cfg.Controller.Box, Version: cli.Version(), Link: link, SharedWith: shared,
				Findings: status.Findings{Reload: r.outcomes.latest(now), Unwritable: r.disks.unwritable(), Orphaned: r.orphans.last()},
			},
			Client: cli.ClientCommand(cfg.Path), Stuck: stuck(&cfg.Redis, s, now), Agents: r.agents(), Seen: side.presences.observations(), Own: r.sightings.latest(now),
		},
		Telemetry: side.sampler.Latest(), History: r.history,
	}
	if server := r.server.get(); server != nil {
		s := server.Status()
		report.Redis = &s
	}
	return report
}

// latency is how long the agents' answers take, by camera; without those that are not
// known to.
func (r *reporter) latency() map[string]*float64 {
	report, all := r.report(), map[string]*float64{}
	for i := range report.Agents {
		if a := report.Reported(&report.Agents[i]); a != nil && a.AnswerMS > 0 {
			all[a.Camera] = &a.AnswerMS
		}
	}
	return all
}

// linkPatience is how much longer than its own timeouts together the link may
// take for anything.
const linkPatience = 30 * time.Second

// stuck names what of the controller itself does not go on. A supervisor that
// hangs is not among it: then there is no answer at all.
func stuck(r *redisconn.Config, s datatransfer.LinkStatus, now time.Time) []string {
	limit := r.DialTimeout + r.IOTimeout + r.CheckInterval + r.CheckTimeout + r.BackoffMax + linkPatience
	if idle := now.Sub(s.Moved); idle > limit {
		return []string{fmt.Sprintf("the link to Redis has not moved for %v", idle.Round(time.Second))}
	}
	return nil
}

// status is the box as the command shows it.
func (r *reporter) status() status.Box {
	report, now := r.report(), time.Now()
	verdict := report.Judge(now)
	return status.Box{
		Box: report.Box, Version: report.Version, OK: verdict.OK(), UptimeS: status.Seconds(now.Sub(r.began)),
		Config: r.conf.get().Path, LoadedS: status.Seconds(r.conf.age()), LinkS: status.Seconds(now.Sub(report.Link.Since)),
		Cameras: report.Cameras(now), Findings: report.Findings,
	}
}

// line is the box in a line, for systemd.
func (r *reporter) line() string {
	report := r.report()
	return report.Line(time.Now())
}

// socket is where a camera's agent answers.
func (r *reporter) socket(camera string) string { return agentapi.Path(r.conf.get().StateDir, camera) }

// sockets are where the agents of the box answer, by camera.
func (r *reporter) sockets() map[string]string {
	all := map[string]string{}
	for _, a := range r.agents() {
		all[a.Name] = r.socket(a.Name)
	}
	return all
}
