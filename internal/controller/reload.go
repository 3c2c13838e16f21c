package controller

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/configfile"
	commands "framekeeper/internal/control"
	"framekeeper/internal/logging"
	"framekeeper/internal/status"
	"framekeeper/internal/supervise"
)

// reloadTime is how long a reload by signal waits for the agents.
const reloadTime = time.Minute

// reloader puts another configuration into force: all of it, or nothing.
type reloader struct {
	conf     *configuration
	load     func(path string) (*configfile.Config, error)
	openLog  func(logging.Config) (zerolog.Logger, io.Closer, error)
	outcomes *outcomes
	parts    []part // in the order in which they are prepared and changed

	supervisor interface {
		Update(context.Context, supervise.Options) (supervise.Changes, error)
	}
	options func(*configfile.Config, zerolog.Logger) (supervise.Options, error)
	after   func() // called when all is done

	mu sync.Mutex // held by the one reload under way
}

// part is what a reload may change.
type part interface {
	// prepare makes what may fail while everything still runs as before, and
	// returns what takes it over, or leaves the part alone if nothing has changed
	// for it. If it returns an error nothing is to be taken over.
	prepare(context.Context, *change) (takeOver func() error, err error)
}

// change is a configuration in the place of another.
type change struct {
	old, next   *configfile.Config
	oldLog, log zerolog.Logger
	newLog      io.Closer // of log; nil: it is the same as before
}

// run reloads at each SIGHUP.
func (r *reloader) run(ctx context.Context, hangups <-chan os.Signal) error {
	for {
		select {
		case <-hangups:
			limited, cancel := context.WithTimeout(ctx, reloadTime)
			_, _ = r.reload(limited) // it is in the log
			cancel()
		case <-ctx.Done():
			return nil
		}
	}
}

// reload takes over what has changed in the configuration, and leaves alone
// what has not. One that is wrong in anything is refused whole, and everything
// goes on as before. An error with a result is about agents that do not run
// with it.
func (r *reloader) reload(ctx context.Context) (*commands.ReloadResult, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, takeOver, err := r.prepare(ctx)
	if err != nil {
		r.outcomes.note(true, err, time.Now())
		r.conf.logger().Error().Strs("problems", strings.Split(err.Error(), "\n")).Msg("The new configuration is refused; the old one stays in force")
		return nil, fmt.Errorf("the new configuration is refused; the old one stays in force: %w", err)
	}
	result, err := r.takeOver(ctx, c, takeOver)
	level := zerolog.InfoLevel
	if err != nil {
		level = zerolog.ErrorLevel
	}
	changes := &result.Cameras
	r.conf.logger().WithLevel(level).Err(err).Strs("sections", result.Sections).Strs("started", changes.Started).Strs("restarted", changes.Restarted).
		Strs("stopped", changes.Stopped).Strs("kept", changes.Kept).Msg("Configuration reloaded")
	return result, err
}

// prepare reads the file and has every part make what may fail.
func (r *reloader) prepare(ctx context.Context) (c *change, takeOver []func() error, err error) {
	c = &change{old: r.conf.get(), oldLog: *r.conf.logger()}
	if c.next, err = r.load(c.old.Path); err != nil {
		return nil, nil, err
	}
	if c.next.StateDir != c.old.StateDir {
		return nil, nil, fmt.Errorf("%s: state_dir = %q: it was %q and cannot change while the controller runs: restart the controller",
			c.next.Path, c.next.StateDir, c.old.StateDir)
	}
	c.log = c.oldLog
	if c.next.Log != c.old.Log {
		if c.log, c.newLog, err = r.openLog(c.next.Log); err != nil {
			return nil, nil, err
		}
	}
	if _, err = r.options(c.next, c.log); err == nil {
		for _, p := range r.parts {
			var one func() error
			if one, err = p.prepare(ctx, c); err != nil {
				break
			}
			takeOver = append(takeOver, one)
		}
	}
	if err != nil && c.newLog != nil {
		_ = c.newLog.Close() // the first error counts
	}
	return c, takeOver, err
}

// takeOver puts it into force. The agents come last: from then on every one is
// started with the new configuration; one that does not come up is started again,
// and its camera shows how it is. So what has failed before them is the outcome.
func (r *reloader) takeOver(ctx context.Context, c *change, parts []func() error) (*commands.ReloadResult, error) {
	result := &commands.ReloadResult{Sections: sectionsChanged(c.old, c.next)}
	oldLog := r.conf.replace(c.next, c.log, c.newLog)
	var failed error
	for _, takeOver := range parts {
		failed = errors.Join(failed, takeOver())
	}
	o, err := r.options(c.next, c.log)
	failed = errors.Join(failed, err)
	r.outcomes.note(false, failed, time.Now())
	if err == nil {
		result.Cameras, err = r.supervisor.Update(ctx, o)
		failed = errors.Join(failed, err)
	}
	r.after()
	if oldLog != nil {
		failed = errors.Join(failed, oldLog.Close())
	}
	return result, failed
}

// sectionsChanged names the tables that differ, as the file has them.
func sectionsChanged(old, next *configfile.Config) []string {
	names := []string{}
	a, b := reflect.ValueOf(old).Elem(), reflect.ValueOf(next).Elem()
	for i := range a.NumField() {
		if name := a.Type().Field(i).Tag.Get("toml"); name != "" && !reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()) {
			names = append(names, name)
		}
	}
	return names
}

// outcomes is what came of the last reload, as long as the program lives. Any
// goroutine may use it.
type outcomes struct {
	mu   sync.Mutex     // guards all below
	last *status.Reload // nil: there was none; never changed in place
	good time.Time      // when all was last taken over
}

// newOutcomes is for a program that has begun with a good configuration then.
func newOutcomes(began time.Time) *outcomes { return &outcomes{good: began} }

// note is called when a configuration is taken over, or is not. Refused says that
// an error has kept it from changing anything.
func (o *outcomes) note(refused bool, err error, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.last = status.NewReload(refused, err, now)
	if o.last.OK {
		o.good = now
	}
}

// latest is what came of the last reload; nil if there was none.
func (o *outcomes) latest(now time.Time) *status.Reload {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.last == nil {
		return nil
	}
	last := *o.last
	last.AgoS = now.Sub(last.At).Round(time.Millisecond).Seconds()
	last.At = asSetNow(last.At, now)
	return &last
}

// lastGood is when the configuration was last taken over, by the start or by a
// reload, and whether no reload has failed since.
func (o *outcomes) lastGood(now time.Time) (at time.Time, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return asSetNow(o.good, now), o.last == nil || o.last.OK
}

// asSetNow is a time of ours by the clock as it is now: a box without a battery
// begins in 1970 and learns the time later. Whole seconds hide what two readings
// of the clock differ by.
func asSetNow(at, now time.Time) time.Time {
	return now.Add(-now.Sub(at)).Round(time.Second)
}
