package agent

import (
	"os"
	"path/filepath"
	"testing"

	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/redistest"
)

// newRestorable is an outage of a Redis that can be given an older copy of its data.
func newRestorable(t *testing.T) *outage {
	t.Helper()
	o := &outage{server: redistest.Start(t, redistest.WithRDB())}
	o.line = redistest.NewProxy(t, o.server.Addr())
	o.config = writeConfig(t, o.line.URL(), "[delivery]\nretain_bytes = \"1MiB\"\n", medium) // memory for 18
	o.spool = filepath.Join(filepath.Dir(o.config), "spool")
	return o
}

// grow waits for more entries.
func (o *outage) grow(t *testing.T, n int64) {
	t.Helper()
	before := o.server.Client().XLen(t.Context(), "frames:greencam1").Val()
	testkit.Eventually(t, "more frames", func() bool { return o.server.Client().XLen(t.Context(), "frames:greencam1").Val() > before+n })
}

// Whatever Redis loses of this epoch or earlier ones, before a start or after it, a
// reader of what is left misses nothing that is not declared.
func TestWhatARestoredRedisLostIsDeclared(t *testing.T) {
	testkit.NeedRedis(t)
	dump := func(o *outage) string { return filepath.Join(o.server.Dir(), "dump.rdb") }
	for name, restore := range map[string]func(t *testing.T, o *outage, copied []byte){
		"an older copy": func(t *testing.T, o *outage, copied []byte) {
			o.server.Kill()
			must(t, os.WriteFile(dump(o), copied, 0o600))
			o.server.Restart()
			o.server.AwaitReady()
		},
		"nothing": func(_ *testing.T, o *outage, _ []byte) { o.server.Do("FLUSHALL") },
	} {
		for _, c := range []struct {
			name                string
			before, kill, outer bool
		}{
			{"before a start", true, false, false},
			{"after a start", false, false, false},
			{"before a start, after one without Redis", true, false, true},
			{"before a start that follows a kill", true, true, false},
		} {
			t.Run(name+" is restored "+c.name, func(t *testing.T) {
				t.Parallel()
				o := newRestorable(t)
				stop, _ := startAgent(t, o.config)
				o.grow(t, 10)
				o.server.Do("SAVE")
				copied, err := os.ReadFile(dump(o))
				must(t, err)
				o.grow(t, 40)
				must(t, stop())
				if c.kill {
					startAndKill(t, o.config, func() { o.grow(t, 40) })
				} else {
					stop, _ = startAgent(t, o.config)
					o.grow(t, 40)
					must(t, stop())
				}
				if c.outer {
					o.cut()
					o.whileAway(t, false)
				}
				if c.before {
					restore(t, o, copied)
				}
				log := o.heal(t)
				if !c.before {
					restore(t, o, copied)
					log = o.heal(t)
				}
				o.heal(t) // one more: nothing is left to tell
				s := account(t, o.server)
				if s.Undeclared > 0 || s.Duplicates > 0 || s.Declared < 30 || !c.kill && s.Unknown > 0 {
					t.Errorf("%+v\n%s\n%s", s, log, describe(t, o.server))
				}
			})
		}
	}
}

// A spool that is made smaller between two starts loses its oldest frames, each
// declared.
func TestASpoolThatIsMadeSmallerDeclaresWhatIsLost(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	o := newOutage(t, "[delivery]\nspool_max_bytes = \"100MiB\"\n", medium)
	stop, _ := startAgent(t, o.config)
	o.begin(t)
	testkit.Eventually(t, "2 MiB on disk", func() bool { return len(o.files(t)) > 40 })
	must(t, stop())
	had := len(o.files(t))
	replaceIn(t, o.config, "100MiB", "1MiB")
	log := o.heal(t)
	s := account(t, o.server)
	if s.Undeclared+s.Unknown > 0 || s.Declared < uint64(had-18) {
		t.Errorf("%d frames were on disk: %+v\n%s\n%s", had, s, log, describe(t, o.server))
	}
}
