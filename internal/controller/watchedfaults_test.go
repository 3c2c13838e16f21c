package controller

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// fault is what is done to the boxes, and the alerts it brings about, without
// "Framekeeper".
type fault struct {
	name  string
	hurt  func()
	again func() // at each look until all alerts have been there; nil: nothing
	must  []string
	may   []string
	until string // a query that has an answer when more than the alerts was to be seen
	heal  func() // nil: it stays
}

func (w *watched) faults(t *testing.T) []fault {
	t.Helper()
	rename := func(from, to string) func() {
		return func() {
			if err := os.Rename(from, to); err != nil {
				t.Error(err)
			}
		}
	}
	return []fault{
		{
			name: "Redis away", hurt: w.server.Kill, heal: w.server.Restart,
			must: []string{"LinkDown cam1", "LinkDown cam2", "LinkDown feed", "NotReady cam1", "NotReady cam2", "NotReady feed", "SpoolFilling cam1", "FramesLost cam1", "FramesLost cam2"},
			may:  []string{"SpoolFilling cam2", "RequestsFail cam1", "RequestsFail feed", "RequestsSlow cam1", "RequestsSlow feed", "FramesLost feed"},
		},
		{
			name: "camera taken away", hurt: func() { w.remove("frame.jpg") }, heal: func() { w.feed(t, "frame.jpg", 1) },
			must: []string{"CameraStalled feed", "AgentRestarts feed", "NotReady feed"},
			may:  []string{"AgentDown feed", "RequestsFail feed", "CameraFlaky feed", "RequestsSlow feed"},
		},
		{
			name: "broken images", hurt: func() { w.feed(t, "broken.jpg", 0.5) }, heal: func() { w.remove("broken.jpg") },
			must: []string{"CameraFlaky feed"},
		},
		{
			name: "agent that does not answer", hurt: rename(w.socket("cam2"), w.socket("cam2")+".away"), heal: rename(w.socket("cam2")+".away", w.socket("cam2")),
			must: []string{"AgentDown cam2"},
		},
		{
			name: "camera stopped by its operator", hurt: func() { w.command(t, "stop", "cam2") }, heal: func() { w.command(t, "start", "cam2") },
			must:  []string{"CameraStopped cam2"},
			until: `min_over_time(framekeeper_agent_state{state="stopped",camera="cam2"}[3s]) == 1`,
		},
		{
			name: "foreign writer", hurt: func() { w.server.Do("XADD", "frames:cam2", "9999999999999-1", "a", "b") }, heal: func() { w.server.Do("DEL", "frames:cam2") },
			must: []string{"ForeignWriter cam2", "NotWritable cam2", "NotReady cam2"},
			may:  []string{"SpoolFilling cam2", "FramesLost cam2"},
		},
		{
			name: "spool_dir that cannot be written", hurt: func() {
				rename(w.spool(), w.spool()+".away")()
				if err := os.WriteFile(w.spool(), nil, 0o600); err != nil {
					t.Error(err)
				}
			},
			heal: func() { _ = os.Remove(w.spool()); rename(w.spool()+".away", w.spool())() },
			must: []string{"DirectoryUnwritable"},
			may:  []string{"SpoolUnusable cam1", "SpoolUnusable cam2"}, // where something was just to be removed
		},
		{
			name: "too little voltage", hurt: func() { w.firmware(t, "0x50005") }, heal: func() { w.firmware(t, "0x0") },
			must: []string{"UnderVoltage"},
		},
		{
			name: "configuration refused", hurt: func() { w.reload(t, "[delivery]", "[nonsense]\n[delivery]") }, heal: func() { w.reload(t, "[nonsense]\n", "") },
			must: []string{"ReloadFailed"},
		},
		{
			name: "the box's own Redis dies", again: func() { w.killRedisOfTwo(t) },
			must: []string{"EmbeddedRedisDown", "EmbeddedRedisRestarts"},
			may:  []string{"LinkDown cam1", "LinkFlaps cam1", "NotReady cam1", "FramesLost cam1"},
			heal: func() {},
		},
		{
			name: "box down", hurt: func() {
				if err := w.stopTwo(); err != nil {
					t.Error(err)
				}
			},
			must: []string{"BoxDown"},
		},
	}
}

// firing are the alerts that fire, as reported for the first time with what is wrong
// with their text.
func (w *watched) firing(t *testing.T) (all []string) {
	t.Helper()
	for _, a := range w.alerts() {
		if a.State != "firing" {
			continue
		}
		all = append(all, a.String())
		if w.read[a.String()] {
			continue
		}
		w.read[a.String()] = true
		summary, description := a.Annotations["summary"], a.Annotations["description"]
		t.Logf("%s: %s. %s", &a, summary, description)
		for _, text := range []string{summary, description} {
			if text == "" || regexp.MustCompile(`<no value>|<error|\{\{|%!`).MatchString(text) {
				t.Errorf("%s says %q", &a, text)
			}
		}
		if !strings.Contains(summary, a.Labels["camera"]) || !strings.Contains(summary, a.Labels["instance"]) || a.Labels["state"] != "" {
			t.Errorf("%s says %q with %v: want camera and box in it, and no state", &a, summary, a.Labels)
		}
	}
	return all
}

// await waits for what Prometheus says, which changes with its scrapes.
func (w *watched) await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	again := time.NewTicker(scrapeInterval / 2)
	defer again.Stop()
	for deadline := time.Now().Add(30 * time.Second); !ok(); <-again.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited 30 s in vain for %s; there fire %v", what, w.firing(t))
		}
	}
}

// says reports whether a query has an answer.
func (w *watched) says(t *testing.T, query string) bool {
	t.Helper()
	all, err := w.now(query)
	if err != nil {
		t.Errorf("%s: %v", query, err)
	}
	return len(all) > 0
}

// befall does it, waits for its alerts, heals it, and waits until all is quiet.
func (w *watched) befall(t *testing.T, f *fault) {
	t.Helper()
	began := time.Now()
	if f.hurt != nil {
		f.hurt()
	}
	fired := map[string]time.Duration{}
	w.await(t, f.name+": "+strings.Join(f.must, ", "), func() bool {
		if f.again != nil {
			f.again()
		}
		for _, name := range w.firing(t) {
			if _, known := fired[name]; !known {
				fired[name] = time.Since(began).Round(100 * time.Millisecond)
			}
		}
		missing := slices.ContainsFunc(f.must, func(name string) bool { return fired[name] == 0 })
		return !missing && (f.until == "" || w.says(t, f.until))
	})
	for name := range fired {
		if !slices.Contains(f.must, name) && !slices.Contains(f.may, name) {
			t.Errorf("%s: %s fires too", f.name, name)
		}
	}
	if f.heal == nil {
		t.Logf("%s: %v", f.name, fired)
		return
	}
	healed := time.Now()
	f.heal()
	w.await(t, f.name+": all well and quiet again", func() bool { return w.says(t, allWell) && len(w.firing(t)) == 0 })
	t.Logf("%s: %v, quiet %v after the heal", f.name, fired, time.Since(healed).Round(100*time.Millisecond))
}

// TestPrometheusWatches has a real Prometheus watch real boxes that are hurt:
// alerts fire for what they are there for and for nothing else, and every query
// of the dashboard has an answer.
func TestPrometheusWatches(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	w := watchBoxes(t)
	w.ask(t)
	w.await(t, "figures of all", func() bool { return w.says(t, allWell+` and sum(increase(framekeeper_requests_total[4s])) > 0`) })
	if all := w.firing(t); len(all) > 0 {
		t.Errorf("everything is healthy, and these fire: %v", all)
	}
	for _, f := range w.faults(t) {
		w.befall(t, &f)
	}
	d := readDashboard(t)
	t.Run("variables", func(t *testing.T) { w.checkVariables(t, d) })
	for i := range d.Panels {
		if p := &d.Panels[i]; p.Type != "row" {
			t.Run(p.Title, func(t *testing.T) { w.checkPanel(t, p) })
		}
	}
}
