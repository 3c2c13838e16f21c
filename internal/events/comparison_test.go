package events

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"framekeeper/internal/status"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/outbox"
)

// scene is a box that reports twice a second, and the events of it.
type scene struct {
	status.Report
	now    time.Time
	agent  status.Agent // of cam1, as it reports in Redis, and by itself while that is away
	c      Comparison
	events []Event
}

func newScene() *scene {
	s := &scene{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	s.agent = status.Agent{
		Camera: "cam1", Instance: "a", PID: 42, Writable: true, Link: status.AgentLink{State: "LIVE"}, Capture: status.Capture{State: camera.StateOK},
		Outbox: outbox.Stats{Newest: frame.ID{Epoch: 1, Seq: 100}, Durable: frame.ID{Epoch: 1, Seq: 100}},
	}
	s.Report = status.Report{
		Head:   status.Head{Box: "box1", Link: status.Link{State: "LIVE", Live: true, Since: s.now}},
		Agents: []status.Process{{Name: "cam1", State: status.ProcessRunning, PID: 42, Since: s.now}},
	}
	s.pass(time.Second)
	return s
}

// pass lets time go by.
func (s *scene) pass(d time.Duration) {
	for end := s.now.Add(d); s.now.Before(end); {
		s.now = s.now.Add(500 * time.Millisecond)
		s.agent.TimeUS = s.now.UnixMicro()
		agent, report := s.agent, s.Report
		report.Agents = slices.Clone(s.Agents)
		if report.Link.Live {
			report.Seen = map[string]status.Observation{"cam1": {Agent: &agent}}
		}
		if !report.Link.Live || s.c.Settling() {
			report.Own = map[string]*status.Agent{"cam1": &agent}
		}
		if report.Reload != nil {
			reload := *report.Reload
			reload.AgoS = s.now.Sub(reload.At).Seconds()
			report.Reload = &reload
		}
		s.events = append(s.events, s.c.Next(&report, s.now)...)
	}
}

// want compares all events since the last call: "health kind: text", of which a part is
// enough.
func (s *scene) want(t *testing.T, want ...string) {
	t.Helper()
	var got []string
	for _, e := range s.events {
		got = append(got, fmt.Sprintf("%s %s: %s", e.Health, e.Kind, e.Text))
	}
	s.events = nil
	if !slices.EqualFunc(got, want, strings.HasPrefix) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func (s *scene) redisDies() {
	s.Link = status.Link{State: "DOWN", Since: s.now, Cause: "refused: connection refused", Outages: s.Link.Outages + 1}
	s.agent.Link.State = "DOWN"
}

func (s *scene) redisIsBack() {
	s.Link.LastOutage = &status.Outage{LastedS: s.now.Sub(s.Link.Since).Seconds()}
	s.Link.State, s.Link.Live, s.Link.Since, s.Link.Cause = "LIVE", true, s.now, ""
	s.agent.Link.State = "LIVE"
}

// capture adds frames that Redis does not take.
func (s *scene) capture(n int) {
	s.agent.Outbox.Newest.Seq += uint64(n)
	s.agent.Outbox.Unsent += n
	s.agent.Spool = &status.Spool{}
	s.agent.Spool.Frames, s.agent.Spool.Bytes = s.agent.Outbox.Unsent, int64(s.agent.Outbox.Unsent)<<17
}

func (s *scene) deliver() {
	s.agent.Outbox.Durable, s.agent.Outbox.Unsent, s.agent.Spool = s.agent.Outbox.Newest, 0, nil
}

func TestNothingIsNoEvent(t *testing.T) {
	s := newScene()
	s.pass(time.Minute)
	s.want(t)
}

func TestOutage(t *testing.T) {
	s := newScene()
	s.redisDies()
	s.pass(7 * time.Second)
	s.want(t, "failed outage: Redis is away: refused: connection refused")
	s.capture(45)
	s.pass(7 * time.Second)
	s.redisIsBack()
	s.pass(2 * time.Second)
	s.want(t)
	if !s.c.Settling() {
		t.Error("nobody waits for what comes of the outage")
	}
	s.deliver()
	s.pass(time.Minute)
	last := s.events[len(s.events)-1]
	if last.LastedS != 14 || last.Waited != 45 || last.OnDisk != 45 || last.OnDiskBytes != 45<<17 || last.Lost != 0 || last.Time() != s.Link.Since.Local() {
		t.Errorf("got %+v", last)
	}
	s.want(t, "healthy outage: Redis was away for 14 s; at least 45 frames waited, 45 of them on disk (5.6 MiB); nothing lost")
	if s.c.Settling() {
		t.Error("it is settled")
	}
}

// Nothing is claimed of an outage that is not known.
func TestAccountsOfAnOutage(t *testing.T) {
	for name, c := range map[string]struct {
		meanwhile, after func(*scene)
		want             []string
	}{
		"lost": {func(s *scene) { s.agent.Lost = map[string]uint64{"spool_full": 12} }, (*scene).deliver, []string{
			"degraded loss: cam1: 12 frames lost, and declared: the spool was full (spool_max_bytes)",
			"degraded outage: Redis was away for 10 s; at least 45 frames waited, 45 of them on disk (5.6 MiB); 12 frames lost, and declared: the spool was full",
		}},
		"lost by Redis": {func(*scene) {}, func(s *scene) { s.deliver(); s.agent.Lost = map[string]uint64{"redis_lost": 1, "too_large": 2} }, []string{
			"degraded loss: cam1: 3 frames lost, and declared: 2 larger than Redis accepts, 1 Redis lost them",
			"degraded outage: Redis was away for 10 s; at least 45 frames waited, 45 of them on disk (5.6 MiB); 3 frames lost, and declared: 2 larger",
		}},
		"still waiting": {func(*scene) {}, func(*scene) {}, []string{
			"healthy outage: Redis was away for 10 s; at least 45 frames waited, 45 of them on disk (5.6 MiB); 45 frames still to be sent; nothing lost so far",
		}},
		"silent": {func(*scene) {}, func(s *scene) { s.Agents[0].Silent = s.now }, []string{
			"failed camera: cam1 does not report: no sign of life for 3s",
			"healthy outage: Redis was away for 10 s; at least 45 frames waited, 45 of them on disk (5.6 MiB); not known yet of cam1",
		}},
		"another agent": {func(s *scene) { s.agent.Instance, s.agent.PID, s.Agents[0].PID = "b", 43, 43 }, (*scene).deliver, []string{
			"degraded outage: Redis was away for 10 s; at least 45 frames waited, 45 of them on disk (5.6 MiB); what only the memory of an agent had is lost with its process: cam1",
		}},
		"away again": {func(*scene) {}, func(s *scene) {
			s.redisDies()
			s.pass(3 * time.Second)
			s.redisIsBack()
			s.deliver()
		}, []string{"healthy outage: Redis was away for 14 s; at least 45 frames waited"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene()
			s.redisDies()
			s.capture(45)
			s.pass(5 * time.Second)
			s.events = nil
			c.meanwhile(s)
			s.pass(5 * time.Second)
			s.redisIsBack()
			s.pass(time.Second)
			c.after(s)
			s.pass(time.Minute)
			s.want(t, c.want...)
		})
	}
}

func TestShortOutage(t *testing.T) {
	s := newScene()
	s.Link.Outages, s.Link.Since, s.Link.LastOutage = 1, s.now.Add(300*time.Millisecond), &status.Outage{LastedS: 0.2}
	s.pass(time.Minute)
	s.want(t, "healthy outage: Redis was away for 0.2 s; nothing lost")
}

// The first link takes a moment, and so does that of another configuration.
func TestFirstLink(t *testing.T) {
	s := newScene()
	s.Link = status.Link{State: "CONNECTING", Since: s.now}
	s.pass(2 * time.Second)
	s.redisIsBack()
	s.Link.LastOutage = nil
	s.pass(time.Minute)
	s.want(t)
	s.Link = status.Link{State: "DOWN", Since: s.now, Cause: "refused"}
	s.pass(10 * time.Second)
	s.want(t, "failed outage: Redis is away: refused")
}

func TestCamera(t *testing.T) {
	s := newScene()
	s.agent.Capture = status.Capture{State: camera.StateStalled, Reason: "no frames for 2 s", Stalls: 1}
	s.pass(10 * time.Second)
	s.want(t, "failed camera: cam1 gives no frames: capture is stalled: no frames for 2 s")
	s.agent.Capture.State = camera.StateOpening // tried again
	s.pass(30 * time.Second)
	s.agent.Capture = status.Capture{State: camera.StateOK, Stalls: 1}
	s.pass(time.Second)
	s.want(t, "healthy camera: cam1 is healthy again, after 40 s")
	s.agent.Capture.Stalls = 2
	s.pass(time.Second)
	s.want(t, "degraded stall: cam1 gave no frames for a moment")
	s.agent.NoSocket = "permission denied"
	s.pass(10 * time.Second)
	s.want(t, "degraded camera: cam1 works, but without metrics and settings")
	s.agent.NoSocket = ""
	s.pass(time.Second)
	s.Agents[0] = status.Process{Name: "cam1", State: status.ProcessStopped}
	s.pass(10 * time.Second)
	s.want(t, "healthy camera: cam1 is healthy again", "failed camera: cam1 is stopped: stopped by command")
}

// What is so for a moment only is no event: an agent that is starting, or has not
// written its status yet.
func TestMoments(t *testing.T) {
	s := newScene()
	s.agent.Capture.State = camera.StateOpening
	s.pass(5 * time.Second)
	s.agent.Capture.State = camera.StateOK
	s.agent.Link.State = "DOWN"
	s.pass(5 * time.Second)
	s.agent.Link.State = "LIVE"
	s.pass(5 * time.Second)
	s.want(t)
	s.agent.Link.State = "DOWN"
	s.pass(20 * time.Second)
	s.want(t, "failed camera: cam1 has no connection to Redis")
}

func TestRestarts(t *testing.T) {
	s := newScene()
	s.Agents[0].Ends, s.Agents[0].Restarts, s.Agents[0].LastExit = 1, 1, "signal: killed"
	s.agent.Instance = "b"
	s.pass(time.Second)
	s.want(t, "degraded restart: cam1: its agent was started again: signal: killed")
	s.Agents[0].Restarts = 2
	s.pass(time.Second)
	s.want(t, "healthy restart: cam1: its agent was restarted by a command or a reload")
	s.Redis = &status.RedisServer{State: status.ProcessRunning}
	s.pass(time.Second)
	s.Redis = &status.RedisServer{State: status.ProcessRunning, Restarts: 1, LastExit: "signal: killed"}
	s.pass(time.Second)
	s.want(t, "degraded redis: Redis of this box was started again: signal: killed")
}

func TestFindings(t *testing.T) {
	s := newScene()
	s.Reload = &status.Reload{Refused: true, Problem: "config.toml:3: no", At: s.now.Add(200 * time.Millisecond)}
	s.SharedWith = []string{"host2", "host3"}
	s.Orphaned = []status.OrphanedSpool{{Camera: "old", Frames: 3}}
	s.pass(10 * time.Second)
	s.want(t, "degraded reload: Configuration is refused; the old one stays in force: config.toml:3: no",
		"failed name: box1 is also another controller's name: the name is shared with controller host2", "degraded orphaned: old is not configured: 3 frames wait on disk")
	s.Reload = &status.Reload{OK: true, At: s.now.Add(200 * time.Millisecond)}
	s.SharedWith, s.Orphaned = nil, nil
	s.pass(10 * time.Second)
	if len(s.events) != 3 || s.events[0].Text != "Configuration is reloaded" {
		t.Errorf("got %q", texts(s.events))
	}
	for _, e := range s.events[1:] {
		if !strings.HasSuffix(e.Text, " is in order again, after 8.0 s") && !strings.HasSuffix(e.Text, " is in order again, after 10 s") {
			t.Errorf("got %+v", e)
		}
	}
}

// The first loss is an event at once, further ones are by the minute.
func TestLosses(t *testing.T) {
	s := newScene()
	for i := range uint64(30) {
		s.agent.Lost = map[string]uint64{"disk_full": i + 1}
		s.pass(time.Second)
	}
	s.pass(time.Minute)
	s.want(t, "degraded loss: cam1: 1 frame lost, and declared: the disk was full", "degraded loss: cam1: 29 frames lost, and declared: the disk was full")
}

func TestOldLossesAreNoNews(t *testing.T) {
	s := newScene()
	s.c = Comparison{}
	s.agent.UptimeS, s.agent.Lost = 3600, map[string]uint64{"disk_full": 7}
	s.pass(time.Second)
	s.want(t)
}

func TestEveryLossHasWords(t *testing.T) {
	for _, kind := range outbox.LossKinds() {
		if reasons[kind] == "" {
			t.Errorf("%s has no words", kind)
		}
	}
}
