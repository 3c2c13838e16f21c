package web

import (
	"slices"
	"strings"
	"testing"
	"time"

	"framekeeper/internal/files"
	"framekeeper/internal/status"
)

// What the page says at the top, and of the camera: the cause, once, and what to
// do about it.
func TestView(t *testing.T) {
	const why = "the camera gave up (exit code 3)"
	now := time.Now()
	running := func(r *Report, c Camera) { r.Cameras["cam1"] = c }
	for _, c := range []struct {
		name     string
		change   func(*Report)
		problems []string // name and how it is
		mood     mood     // of the camera
		short    string
		why      string
		advice   string // a part of it
	}{
		{"all well", func(*Report) {}, nil, well, "works", "", ""},
		{"no frames", func(r *Report) { running(r, Camera{Link: "LIVE", Capture: "stalled", Trouble: "capture is stalled"}) },
			[]string{"cam1 gives no pictures"}, unwell, "gives no pictures", "capture is stalled", "plugged in"},
		{"being opened", func(r *Report) { running(r, Camera{Link: "LIVE", Capture: "opening", Trouble: "capture is opening"}) },
			[]string{"cam1 is being opened"}, unwell, "is being opened", "capture is opening", ""},
		{"agent without Redis", func(r *Report) { running(r, Camera{Link: "DOWN", Capture: "ok", Trouble: "its link to Redis is DOWN"}) },
			[]string{"cam1 has no connection to Redis"}, unwell, "has no connection to Redis", "its link to Redis is DOWN", "by itself"},
		{"not writable", func(r *Report) {
			running(r, Camera{Link: "LIVE", Capture: "ok", Trouble: "Redis does not take its frames: full"})
		},
			[]string{"cam1 is not stored: Redis takes no pictures"}, unwell, "is not stored: Redis takes no pictures", "Redis does not take its frames: full", ""},
		{"silent", func(r *Report) {
			running(r, Camera{Link: "LIVE", Capture: "ok", Writable: true, Trouble: "no new status for 20s"})
		}, []string{"cam1 does not report"}, unwell, "does not report", "no new status for 20s", "If it stays so"},
		{"just started", func(r *Report) { running(r, Camera{Trouble: "not looked at yet"}) },
			[]string{"cam1 is starting"}, unwell, "is starting", "not looked at yet", ""},
		{"ready, but not seen yet", func(r *Report) {
			r.Agents[0].Ready, r.Agents[0].Since = true, now
			running(r, Camera{Trouble: NoStatus})
		}, []string{"cam1 is starting"}, unwell, "is starting", "no status in Redis yet", ""},
		{"ready, and not seen for long", func(r *Report) {
			r.Agents[0].Ready, r.Agents[0].Since = true, now.Add(-startTime)
			running(r, Camera{Trouble: NoStatus})
		}, []string{"cam1 does not report"}, unwell, "does not report", NoStatus, "If it stays so"},
		{"waiting", func(r *Report) {
			r.Agents[0] = status.Process{Name: "cam1", State: status.ProcessBackoff, LastExit: why, NextStart: now.Add(5 * time.Second), Failures: 1}
		}, []string{"cam1 has ended and is started again"}, unwell, "has ended and is started again", why + "; waiting to start it again in 5 s", "plugged in"},
		{"about to start", func(r *Report) {
			r.Agents[0] = status.Process{Name: "cam1", State: status.ProcessCrashLoop, LastExit: why, NextStart: now.Add(-time.Second)}
		}, []string{"cam1 keeps ending, it is tried ever more rarely"}, unwell, "keeps ending, it is tried ever more rarely", why + "; about to start it again", ""},
		{"a short life", func(r *Report) {
			r.Agents[0].LastExit, r.Agents[0].Failures = why, 6
			running(r, Camera{Trouble: "no status in Redis"})
		}, []string{"cam1 gives no pictures"}, unwell, "gives no pictures", why + "; trying it again just now", "plugged in"},
		{"needs a hand", func(r *Report) {
			r.Agents[0] = status.Process{Name: "cam1", State: status.ProcessFailed, LastExit: why}
		},
			[]string{"cam1 cannot run until somebody corrects something"}, unwell, "cannot run until somebody corrects something", why, "corrected"},
		{"stopped", func(r *Report) {
			r.Agents[0] = status.Process{Name: "cam1", State: status.ProcessStopped, LastExit: why}
		},
			[]string{"cam1 is stopped"}, unwell, "is stopped", "Stopped by command.", "wanted again"},
		{"Redis away", func(r *Report) {
			r.Link = Link{State: "DOWN", Cause: "refused", Advice: "start it"}
			r.Agents[0].Says = "camera ok"
			running(r, Camera{Trouble: "not known: the controller's own link to Redis is down"})
		}, []string{"Connection to Redis does not work"}, unknown, "is not known",
			"Not known while the connection to Redis does not work. Its agent runs and says: camera ok", ""},
		{"own Redis down", func(r *Report) { r.Redis = &status.RedisServer{State: status.ProcessWaiting, LastExit: "port taken"} },
			[]string{"Redis of this box does not run, it is tried again and again"}, unknown, "works, but not with the Redis of this box", elsewhere, ""},
		{"own Redis and the link down", func(r *Report) {
			r.Redis, r.Link = &status.RedisServer{State: status.ProcessHanging}, Link{State: "DOWN", Cause: "frozen", Advice: "look at its process"}
			running(r, Camera{Trouble: "not known: the controller's own link to Redis is down"})
		}, []string{"Redis of this box does not answer and is being replaced"}, unknown, "is not known", "Not known while the connection to Redis does not work.", ""},
		{"stuck", func(r *Report) { r.Stuck = []string{"the link has not moved for 1m0s"} },
			[]string{"Controller does not go on"}, well, "works", "", ""},
		{"read-only disk", func(r *Report) {
			r.Unwritable = []files.Unwritable{{Settings: []string{"state_dir", "spool_dir"}, Dir: "/state", Reason: "read-only file system"}}
		}, nil, well, "works", "", ""},
	} {
		report := good()
		c.change(&report)
		v := report.view(now)
		var problems []string
		for _, p := range v.Problems {
			problems = append(problems, p.Name+" "+p.Short)
		}
		if !slices.Equal(problems, c.problems) || v.OK != (len(c.problems) == 0) || v.OK != (len(report.troubles()) == 0) {
			t.Errorf("%s: got %q, well %v, and reasons %q, want %q", c.name, problems, v.OK, report.troubles(), c.problems)
		}
		cam := v.Cameras[0]
		if cam.Mood != c.mood || cam.Short != c.short || cam.Why != c.why || (c.advice == "") != (cam.Advice == "") || !strings.Contains(cam.Advice, c.advice) {
			t.Errorf("%s: got %+v, want %s, %q, %q and advice with %q", c.name, cam, c.mood, c.short, c.why, c.advice)
		}
		if notes := strings.Join(cam.Notes, " "); strings.Contains(notes, why) && strings.Contains(cam.Why, why) {
			t.Errorf("%s: the reason stands there twice, in %q", c.name, notes)
		}
	}
}

// What is told where there is no card: --status, /readyz, control status.
func TestACameraThatIsStarting(t *testing.T) {
	r := good()
	r.Cameras["cam1"] = Camera{Trouble: NoStatus}
	for _, c := range []struct {
		name     string
		age      time.Duration
		failures int
		want     string
	}{
		{"young", 0, 0, "is starting, no status in Redis yet"},
		{"old enough", startTime, 0, NoStatus},
		{"one of many short lives", 0, 1, NoStatus},
	} {
		r.Agents[0].Since, r.Agents[0].Failures = time.Now().Add(-c.age), c.failures
		if got := r.Camera(r.Agents[0]); got.Trouble != c.want || r.Well(r.Agents[0]) {
			t.Errorf("%s: got %+v, want %q", c.name, got, c.want)
		}
	}
}

// What an agent has to do without is shown, and no reason to be called unwell.
func TestViewOfANote(t *testing.T) {
	report := good()
	c := report.Cameras["cam1"]
	c.Note = "cannot be asked for metrics"
	report.Cameras["cam1"] = c
	if v := report.view(time.Now()); !v.OK || v.Cameras[0].Mood != well || !slices.Contains(v.Cameras[0].Notes, c.Note) {
		t.Errorf("got %+v, want it well, with the note", v.Cameras[0])
	}
}

// A configuration that is refused stops no camera: the box is well, and says what
// is to be corrected.
func TestViewOfAReload(t *testing.T) {
	now := time.Date(2026, 11, 27, 20, 45, 0, 0, time.Local)
	const problem = "config.toml:3: redis.nonsense: unknown key"
	refused := status.Reload{Refused: true, At: now.Add(-4 * time.Minute), Problem: problem, Problems: 3}
	for _, c := range []struct {
		name    string
		outcome *status.Reload
		stuck   []string
		verdict string
		short   string // of the card; "": there is none
	}{
		{"none", nil, nil, "All is well", ""},
		{"good", &status.Reload{OK: true, At: now}, nil, "All is well", ""},
		{"refused", &refused, nil, "All is well, but the new configuration is refused", "is refused, the old one goes on"},
		{"refused, and a problem", &refused, []string{"the link has not moved"}, "1 problem, and the new configuration is refused", "is refused, the old one goes on"},
		{"in part", &status.Reload{At: refused.At, Problem: problem, Problems: 3}, nil, "All is well, but the new configuration is not wholly taken over", "is not wholly taken over"},
	} {
		report := good()
		report.Reload, report.Stuck = c.outcome, c.stuck
		v := report.view(now)
		if v.Verdict != c.verdict || v.OK != (len(c.stuck) == 0) || len(v.Problems) != len(c.stuck) {
			t.Errorf("%s: got %q, well %v, with %d problems, want %q", c.name, v.Verdict, v.OK, len(v.Problems), c.verdict)
		}
		i := slices.IndexFunc(v.Controller, func(c card) bool { return c.ID == "reload" })
		if c.short == "" || i < 0 {
			if c.short != "" || i >= 0 {
				t.Errorf("%s: got the cards %+v, want one that %q", c.name, v.Controller, c.short)
			}
			continue
		}
		got := v.Controller[i]
		if got.Mood != notice || got.Short != c.short || got.Why != problem+"; and 2 more" || !strings.Contains(got.Advice, "orrect") || got.Figures[0] != (figure{"tried at", "20:41"}) {
			t.Errorf("%s: got %+v", c.name, got)
		}
	}
}
