package controller

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/configfile"
	"framekeeper/internal/logging"
	"framekeeper/internal/supervise"
)

// fakePart writes down what a reload has it do.
type fakePart struct {
	name            string
	steps           *[]string
	refuses, breaks error
}

func (p *fakePart) prepare(_ context.Context, c *change) (func() error, error) {
	*p.steps = append(*p.steps, p.name+" prepares "+c.next.Controller.Box)
	return func() error {
		*p.steps = append(*p.steps, p.name+" takes over")
		return p.breaks
	}, p.refuses
}

type fakeSupervisor struct {
	steps  *[]string
	breaks error
}

func (s *fakeSupervisor) Update(context.Context, supervise.Options) (supervise.Changes, error) {
	*s.steps = append(*s.steps, "agents are updated")
	return supervise.Changes{Kept: []string{"cam1"}}, s.breaks
}

type fakeLog struct {
	name  string
	steps *[]string
}

func (l fakeLog) Close() error {
	*l.steps = append(*l.steps, l.name+" is closed")
	return nil
}

// fakeReload is a reloader whose parts only write down what they are to do.
type fakeReload struct {
	*reloader
	steps       []string
	first, last *fakePart
	agents      *fakeSupervisor
	next        configfile.Config
	refused     error // of the file
}

func newFakeReload() *fakeReload {
	f := &fakeReload{next: configfile.Config{Path: "config.toml", StateDir: "state"}}
	f.first, f.last = &fakePart{name: "first", steps: &f.steps}, &fakePart{name: "last", steps: &f.steps}
	f.agents = &fakeSupervisor{steps: &f.steps}
	old := f.next
	f.next.Controller.Box = "box2"
	f.reloader = &reloader{
		conf: newConfiguration(&old, zerolog.Nop(), fakeLog{"the old log", &f.steps}),
		load: func(string) (*configfile.Config, error) {
			next := f.next
			return &next, f.refused
		},
		openLog: func(logging.Config) (zerolog.Logger, io.Closer, error) {
			f.steps = append(f.steps, "a log is opened")
			return zerolog.Nop(), fakeLog{"the new log", &f.steps}, nil
		},
		outcomes: newOutcomes(time.Now()), parts: []part{f.first, f.last}, supervisor: f.agents,
		options: func(*configfile.Config, zerolog.Logger) (supervise.Options, error) { return supervise.Options{}, nil },
		after:   func() { f.steps = append(f.steps, "spools are searched") },
	}
	return f
}

func (f *fakeReload) want(t *testing.T, failure string, inForce string, steps ...string) {
	t.Helper()
	_, err := f.reload(t.Context())
	if (err == nil) != (failure == "") || err != nil && !strings.Contains(err.Error(), failure) {
		t.Errorf("got %v, want an error with %q", err, failure)
	}
	if !slices.Equal(f.steps, steps) {
		t.Errorf("got the steps\n%s\nwant\n%s", strings.Join(f.steps, "\n"), strings.Join(steps, "\n"))
	}
	if got := f.conf.get().Controller.Box; got != inForce {
		t.Errorf("in force is %q, want %q", got, inForce)
	}
}

func TestReloaderTakesOver(t *testing.T) {
	f := newFakeReload()
	f.next.Log.Level = "debug"
	f.want(t, "", "box2", "a log is opened", "first prepares box2", "last prepares box2", "first takes over", "last takes over",
		"agents are updated", "spools are searched", "the old log is closed")
	if o := f.outcomes.latest(time.Now()); o == nil || !o.OK {
		t.Errorf("got the outcome %+v, want a good one", o)
	}
}

func TestReloaderRefusesWhole(t *testing.T) {
	f := newFakeReload()
	f.next.Log.Level = "debug"
	f.last.refuses = errors.New("no such address")
	f.want(t, "no such address", "", "a log is opened", "first prepares box2", "last prepares box2", "the new log is closed")
	if o := f.outcomes.latest(time.Now()); o == nil || o.OK || !o.Refused {
		t.Errorf("got the outcome %+v, want a refusal", o)
	}

	f = newFakeReload()
	f.refused = errors.New("unknown key")
	f.want(t, "the new configuration is refused; the old one stays in force: unknown key", "")

	f = newFakeReload()
	f.next.StateDir = "elsewhere"
	f.want(t, "cannot change while the controller runs", "")
}

// What fails while it is taken over is the outcome; an agent that does not come up
// is only reported to whoever asked.
func TestReloaderGoesOn(t *testing.T) {
	steps := []string{"first prepares box2", "last prepares box2", "first takes over", "last takes over", "agents are updated", "spools are searched"}
	f := newFakeReload()
	f.first.breaks = errors.New("the password is gone")
	f.want(t, "the password is gone", "box2", steps...)
	if o := f.outcomes.latest(time.Now()); o.OK || o.Refused || o.Problem != "the password is gone" {
		t.Errorf("got the outcome %+v, want what has failed", o)
	}

	f = newFakeReload()
	f.agents.breaks = errors.New("cam1 has ended")
	f.want(t, "cam1 has ended", "box2", steps...)
	if o := f.outcomes.latest(time.Now()); !o.OK {
		t.Errorf("got the outcome %+v, want a good one", o)
	}
}

func TestSectionsChanged(t *testing.T) {
	old := configfile.Config{Path: "a", Text: []byte("a")}
	next := configfile.Config{Path: "b", Text: []byte("b")}
	if got := sectionsChanged(&old, &next); len(got) != 0 {
		t.Errorf("got %v, want none", got)
	}
	next.Controller.Web.HTTP, next.Cameras = "x", camerasOf("cam1")
	if got := sectionsChanged(&old, &next); !slices.Equal(got, []string{"controller", "camera"}) {
		t.Errorf("got %v, want controller and camera", got)
	}
}
