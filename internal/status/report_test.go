package status

import (
	"slices"
	"strings"
	"testing"
	"time"

	"framekeeper/internal/files"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/spool"
)

// agent is what a healthy agent reports, changed.
func agent(change func(*Agent)) Observation {
	a := &Agent{PID: 42, Link: AgentLink{State: "LIVE"}, Capture: Capture{State: camera.StateOK}, Writable: true}
	change(a)
	return Observation{Agent: a}
}

// good is a healthy box, whose agent has been running for a minute.
func good(now time.Time) Report {
	return Report{
		Head:   Head{Box: "box1", Version: "v1", Link: Link{State: "LIVE", Live: true, Since: now.Add(-90 * time.Second)}},
		Agents: []Process{{Name: "cam1", State: ProcessRunning, PID: 42, Since: now.Add(-time.Minute), Ready: true}},
		Seen:   map[string]Observation{"cam1": agent(func(*Agent) {})},
	}
}

func TestJudge(t *testing.T) {
	const why = "the camera gave up (exit code 3)"
	now := time.Now()
	see := func(change func(*Agent)) func(*Report) {
		return func(r *Report) { r.Seen["cam1"] = agent(change) }
	}
	miss := func(code Code, change func(*Process)) func(*Report) {
		return func(r *Report) {
			r.Seen["cam1"] = Observation{Missing: Reason{Code: code}}
			change(&r.Agents[0])
		}
	}
	process := func(p Process) func(*Report) {
		return func(r *Report) {
			p.Name = "cam1"
			r.Agents[0] = p
		}
	}
	all := func(changes ...func(*Report)) func(*Report) {
		return func(r *Report) {
			for _, change := range changes {
				change(r)
			}
		}
	}
	own := func(change func(*Agent)) func(*Report) {
		return func(r *Report) { r.Own = map[string]*Agent{"cam1": agent(change).Agent} }
	}
	down := func(r *Report) { r.Link = Link{State: "DOWN", Cause: "refused", Advice: "start it"} }
	for _, c := range []struct {
		name   string
		change func(*Report)
		box    Health
		health Health // of the camera
		line   string // of the camera
		advice string // a part of it
		others string // the lines of what else is not healthy, one each
	}{
		{"healthy", func(*Report) {}, Healthy, Healthy, "cam1 is healthy", "", ""},
		{"link down", see(func(a *Agent) { a.Link.State, a.Writable = "DOWN", false }), Failed, Failed,
			"cam1 has no connection to Redis: its link to Redis is DOWN; Redis does not accept its frames", "automatically", ""},
		{"parts hang", see(func(a *Agent) { a.Link.Stuck = []string{"spool", "log"} }), Failed, Failed,
			"cam1 hangs in parts: parts of it do not return (is a disk hanging?): spool, log", "disk", ""},
		{"no frames", see(func(a *Agent) { a.Capture.State, a.Capture.Reason = camera.StateStalled, "no frame for 2s" }), Failed, Failed,
			"cam1 gives no frames: capture is stalled: no frame for 2s", "plugged in", ""},
		{"being opened", see(func(a *Agent) { a.Capture.State = camera.StateOpening }), Failed, Failed, "cam1 is being opened: capture is opening", "", ""},
		{"not writable", see(func(a *Agent) { a.Writable, a.Reason = false, "full" }), Failed, Failed,
			"cam1 cannot deliver: Redis accepts no frames: Redis does not accept its frames: full", "", ""},
		{"no socket", see(func(a *Agent) { a.NoSocket = "read-only" }), Degraded, Degraded,
			"cam1 works, but without metrics and settings: the controller cannot reach its socket: read-only", "", ""},
		{"an empty status", see(func(a *Agent) { *a = Agent{} }), Failed, Failed,
			"cam1 has no connection to Redis: its link to Redis is unknown; capture is unknown; Redis does not accept its frames", "automatically", ""},
		{"a stale status", func(r *Report) {
			o := agent(func(a *Agent) { a.Link.State = "DOWN" })
			o.Stale = 20 * time.Second
			r.Seen["cam1"] = o
		}, Failed, Failed, "cam1 does not report: no new status for 20s: the agent hangs, or has ended", "client control --box box1 restart cam1", ""},
		{"the status of the process before", see(func(a *Agent) { a.PID = 41 }), Failed, Failed,
			"cam1 does not report: the status in Redis is of another process: process 42 has written none yet", "restart cam1", ""},
		{"the same, of a young process", all(see(func(a *Agent) { a.PID = 41 }), func(r *Report) { r.Agents[0].Since = now }), Unknown, Unknown,
			"cam1 is starting: the status in Redis is of another process: process 42 has written none yet", "", ""},
		{"a status without a process", see(func(a *Agent) { a.PID = 0 }), Healthy, Healthy, "cam1 is healthy", "", ""},

		{"not read yet", func(r *Report) { r.Seen = nil }, Failed, Failed, "cam1 does not report: its status has not been read yet", "restart", ""},
		{"not read yet, not ready", all(func(r *Report) { r.Seen = nil }, func(r *Report) { r.Agents[0].Ready = false }), Unknown, Unknown,
			"cam1 is starting: its status has not been read yet", "", ""},
		{"just started", miss(NoStatus, func(p *Process) { p.Since = now }), Unknown, Unknown, "cam1 is starting: no status in Redis yet", "", ""},
		{"no status for long", miss(NoStatus, func(p *Process) { p.Since = now.Add(-startTime) }), Failed, Failed,
			"cam1 does not report: no status in Redis: the agent does not reach it, or hangs", "restart", ""},
		{"unreadable", miss(Unreadable, func(*Process) {}), Failed, Failed, "cam1 does not report: its status cannot be read", "restart", ""},
		{"a short life", miss(NoStatus, func(p *Process) { p.LastExit, p.Failures, p.Since = why, 6, now }), Failed, Failed,
			"cam1 gives no frames: " + why, "plugged in", ""},

		{"being started", process(Process{State: ProcessStarting}), Unknown, Unknown, "cam1 is being started", "", ""},
		{"waiting", process(Process{State: ProcessBackoff, LastExit: why, Failures: 1}), Failed, Failed,
			"cam1 has ended and is started again: " + why, "plugged in", ""},
		{"ends again and again", process(Process{State: ProcessCrashLoop, LastExit: why}), Failed, Failed,
			"cam1 is in a crash loop and is restarted slowly: " + why, "", ""},
		{"needs a hand", process(Process{State: ProcessFailed, LastExit: why}), Failed, Failed,
			"cam1 cannot run until the cause is corrected: " + why, "correct that", ""},
		{"stopped", process(Process{State: ProcessStopped, LastExit: why}), Failed, Failed,
			"cam1 is stopped: stopped by command", "to start it again: client control --box box1 start cam1", ""},
		{"silent", func(r *Report) { r.Agents[0].Silent = now.Add(-4 * time.Second) }, Failed, Failed,
			"cam1 does not report: no sign of life for 4s: it hangs, or was stopped", "restart", ""},

		{"Redis away", down, Failed, Unknown, "cam1 has an unknown state: the link from here to Redis is down", "",
			"Connection to Redis does not work: the link from here to Redis is DOWN: refused"},
		{"Redis away, the camera works", all(down, own(func(a *Agent) {
			a.Link.State, a.Writable = "DOWN", false
			a.Outbox.Unsent, a.Spool = 45, &Spool{Stats: spool.Stats{Frames: 40, Bytes: 5 << 20}}
		})), Failed, Unknown, "cam1 captures, and waits for Redis: its link to Redis is DOWN", "",
			"Connection to Redis does not work: the link from here to Redis is DOWN: refused"},
		{"Redis away, the camera too", all(down, own(func(a *Agent) {
			a.Link.State, a.Capture.State, a.Capture.Reason = "DOWN", camera.StateStalled, "no frame for 2s"
		})), Failed, Failed, "cam1 gives no frames: capture is stalled: no frame for 2s", "check the camera",
			"Connection to Redis does not work: the link from here to Redis is DOWN: refused"},
		{"only the controller has no link", all(down, own(func(*Agent) {})), Failed, Healthy, "cam1 is healthy", "",
			"Connection to Redis does not work: the link from here to Redis is DOWN: refused"},
		{"Redis away, of another process", all(down, own(func(a *Agent) { a.PID = 1 })), Failed, Unknown,
			"cam1 has an unknown state: the link from here to Redis is down", "",
			"Connection to Redis does not work: the link from here to Redis is DOWN: refused"},
		{"own Redis down", all(down, func(r *Report) { r.Redis = &RedisServer{State: ProcessHanging, LastExit: "signal: killed"} }), Failed, Unknown,
			"cam1 has an unknown state: the link from here to Redis is down", "",
			"Connection to Redis waits for the Redis of this box\nRedis of this box gives no sign of life and is being restarted: signal: killed"},
		{"another Redis", func(r *Report) { r.Redis = &RedisServer{State: ProcessWaiting, LastExit: "port taken"} }, Failed, Unknown,
			"cam1 works, but not with the Redis of this box: it is connected to a Redis that is not this box's own", "",
			"Redis of this box does not run; its start is tried again: port taken"},
		{"own Redis", func(r *Report) { r.Redis = &RedisServer{State: ProcessRunning, LastExit: "signal: killed"} }, Healthy, Healthy, "cam1 is healthy", "", ""},

		{"stuck", func(r *Report) { r.Stuck = []string{"the link has not moved for 1m0s"} }, Failed, Healthy, "cam1 is healthy", "",
			"Controller hangs: the link has not moved for 1m0s"},
		{"name shared", func(r *Report) { r.SharedWith = []string{"0a1b (host pi)", "0a1c"} }, Failed, Healthy, "cam1 is healthy", "",
			"box1 is also another controller's name: the name is shared with controller 0a1b (host pi): neither executes commands that do not name an instance\n" +
				"box1 is also another controller's name: the name is shared with controller 0a1c: neither executes commands that do not name an instance"},
		{"read-only disk", func(r *Report) {
			r.Unwritable = []files.Unwritable{{Settings: []string{"state_dir", "spool_dir"}, Dir: "/state", Reason: "read-only file system", Code: files.ReadOnly}}
		}, Degraded, Healthy, "cam1 is healthy", "",
			"state_dir and spool_dir cannot be written: /state: read-only file system: nothing can be stored there for an outage or a restart"},
		{"a configuration refused", func(r *Report) { r.Reload = &Reload{Refused: true, Problem: "a: wrong", Problems: 3} }, Degraded, Healthy, "cam1 is healthy", "",
			"Configuration is refused; the old one stays in force: a: wrong; and 2 more"},
		{"an orphaned spool", func(r *Report) { r.Orphaned = []OrphanedSpool{{Camera: "gone", Frames: 1}} }, Degraded, Healthy, "cam1 is healthy", "",
			"gone is not configured: 1 frame waits on disk for it"},
	} {
		r := good(now)
		c.change(&r)
		v := r.Judge(now)
		cam := v.Cameras[0]
		if v.Health != c.box || cam.Health != c.health || cam.Line() != c.line || (c.advice == "") != (cam.ToDo() == "") || !strings.Contains(cam.ToDo(), c.advice) {
			t.Errorf("%s: got a %s box, and of the camera %s, %q, %q;\nwant %s, and %s, %q, and %q", c.name, v.Health, cam.Health, cam.Line(), cam.ToDo(), c.box, c.health, c.line, c.advice)
		}
		var others, reasons []string
		for _, i := range v.Items() {
			if i.Health != Healthy && i.ID != cam.ID {
				others = append(others, i.Line())
			}
			if !i.Health.OK() {
				reasons = append(reasons, i.Line())
			}
		}
		if got := strings.Join(others, "\n"); got != c.others {
			t.Errorf("%s: got\n%s\nwant\n%s", c.name, got, c.others)
		}
		if notes := strings.Join(cam.Notes, " "); strings.Contains(notes, why) && strings.Contains(cam.Line(), why) {
			t.Errorf("%s: the reason stands there twice, in %q", c.name, notes)
		}
		wantJSON(t, c.name, &r, &v, now, reasons)
	}
}

// wantJSON wants /readyz and the command status to show what the verdict is.
func wantJSON(t *testing.T, name string, r *Report, v *Verdict, now time.Time, reasons []string) {
	t.Helper()
	ready, cam := r.Ready(now), v.Cameras[0]
	if ready.OK != v.OK() || ready.Health != v.Health || ready.Reasons == nil || !slices.Equal(ready.Reasons, reasons) {
		t.Errorf("%s: /readyz has %v, %s, %q, want %s, %q", name, ready.OK, ready.Health, ready.Reasons, v.Health, reasons)
	}
	shown := r.Cameras(now)[0]
	if shown.Reported != ready.Cameras["cam1"].Reported || shown.Name != "cam1" || shown.Health != cam.Health {
		t.Errorf("%s: the command status has %+v, /readyz %+v", name, shown, ready.Cameras["cam1"])
	}
	if (shown.Trouble == "") != cam.Health.OK() || (shown.Note == "") != (cam.Health != Degraded) || shown.Advice != cam.ToDo() {
		t.Errorf("%s: got %+v, want what %+v is", name, shown.Reported, cam)
	}
}

// What another box's camera is judged by: its status alone.
func TestJudgeWithoutAProcess(t *testing.T) {
	for _, c := range []struct {
		seen   Observation
		health Health
		why    string
	}{
		{Observe([]byte(`{"pid":7,"link":{"state":"LIVE","stuck":[]},"capture":{"state":"ok"},"writable":true}`)), Healthy, ""},
		{Observe([]byte(`{"link":{"state":"DOWN"},"capture":{"state":"ok"},"writable":false,"reason":"full"}`)), Failed,
			"its link to Redis is DOWN; Redis does not accept its frames: full"},
		{Observe([]byte(`{}`)), Failed, "its link to Redis is unknown; capture is unknown; Redis does not accept its frames"},
		{Observe([]byte(`[]`)), Failed, "its status cannot be read"},
		{Observation{Missing: Reason{Code: Absent}}, Failed, "absent"},
	} {
		e := Evidence{Seen: c.seen}
		if j := e.Judge(time.Now()); j.Health != c.health || j.Why() != c.why || j.Command != "" {
			t.Errorf("got %+v, why %q, want %s, %q", j, j.Why(), c.health, c.why)
		}
	}
}

func TestNotes(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		p    Process
		ok   bool
		want []string
	}{
		{Process{State: ProcessRunning, Since: now, LastExit: "exit code 1"}, true, []string{"last end: exit code 1"}},
		{Process{State: ProcessRunning, Since: now.Add(-newsTime), LastExit: "exit code 1"}, true, nil},
		{Process{State: ProcessRunning, Since: now.Add(-newsTime), LastExit: "exit code 1"}, false, []string{"last end: exit code 1"}},
		{Process{State: ProcessRunning, LastExit: "exit code 1", Failures: 2}, false, nil},
		{Process{State: ProcessRunning, Since: now, LastExit: "exit code 1", Failures: 2}, true, []string{"last end: exit code 1"}},
		{Process{State: ProcessBackoff, LastExit: "exit code 1", NextStart: now.Add(5 * time.Second)}, false, []string{"waiting to start it again in 5 s"}},
		{Process{State: ProcessCrashLoop, NextStart: now.Add(-time.Second), Recoveries: 1, LastRecovery: "exit status 1"}, false,
			[]string{"about to start it again", "recovery_command was run 1 time, the last time: exit status 1"}},
	} {
		if got := c.p.Notes(c.ok, now); !slices.Equal(got, c.want) {
			t.Errorf("%+v: got %q, want %q", c.p, got, c.want)
		}
	}
}

// No figure of a status that does not count stands beside the reason for which it does
// not.
func TestReported(t *testing.T) {
	now := time.Now()
	for name, c := range map[string]struct {
		change func(*Report)
		counts bool
	}{
		"healthy":             {func(*Report) {}, true},
		"stale":               {func(r *Report) { o := r.Seen["cam1"]; o.Stale = time.Minute; r.Seen["cam1"] = o }, false},
		"of another process":  {func(r *Report) { r.Agents[0].PID = 41 }, false},
		"of a silent process": {func(r *Report) { r.Agents[0].Silent = now }, false},
		"the link is down":    {func(r *Report) { r.Link.Live = false }, false},
		"its own, meanwhile":  {func(r *Report) { r.Link.Live, r.Own = false, map[string]*Agent{"cam1": {PID: 42}} }, true},
		"its own, of a silent": {func(r *Report) {
			r.Link.Live, r.Own, r.Agents[0].Silent = false, map[string]*Agent{"cam1": {PID: 42}}, now
		}, false},
	} {
		r := good(now)
		c.change(&r)
		if got := r.Reported(&r.Agents[0]); (got != nil) != c.counts {
			t.Errorf("%s: got %+v", name, got)
		}
	}
}

// What is unknown because something else has failed is no problem of its own.
func TestProblems(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		name   string
		change func(*Report)
		want   []string
	}{
		{"healthy", func(*Report) {}, nil},
		{"starting", func(r *Report) { r.Agents[0].State = ProcessStarting }, []string{"cam1"}},
		{"link down", func(r *Report) { r.Link = Link{State: "DOWN"} }, []string{"Connection to Redis"}},
		{"a reload refused", func(r *Report) { r.Reload = &Reload{Refused: true} }, []string{"Configuration"}},
	} {
		r := good(now)
		c.change(&r)
		v := r.Judge(now)
		var got []string
		for _, i := range v.Problems() {
			got = append(got, i.Name)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestLine(t *testing.T) {
	now := time.Now()
	r := good(now)
	r.Agents = append(r.Agents, Process{Name: "cam2", State: ProcessBackoff})
	r.Reload = &Reload{Refused: true}
	if got, want := r.Line(now), "failed: 1 of 2 agents running, link LIVE, Configuration is refused; the old one stays in force"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestEveryCodeHasWords(t *testing.T) {
	for code := Absent; code <= Unreadable; code++ {
		if words[code] == "" {
			t.Errorf("code %d has no words", code)
		}
	}
}
