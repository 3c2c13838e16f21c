package main

import (
	"context"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/redisconn"
)

func TestMain(m *testing.M) {
	redisconn.Quiet()
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(programs.bin.dir)
		os.Exit(code)
	}))
}

// testLog passes notes on to a test.
type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Log(string(p))
	return len(p), nil
}

// programs builds the agent once for all tests; TestMain removes it.
var programs struct {
	once sync.Once
	bin  binaries
	err  error
}

func shortForm(t *testing.T) *options {
	t.Helper()
	if err := redistest.Available(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	programs.once.Do(func() {
		// Not t.TempDir: several tests use it, whichever ends first.
		dir, err := os.MkdirTemp("", "fk-faults-bin-")
		if err != nil {
			programs.err = err
			return
		}
		programs.bin, programs.err = build(context.Background(), dir)
	})
	if programs.err != nil {
		t.Fatal(programs.err)
	}
	return &options{
		ctx: t.Context(), bin: programs.bin, notes: testLog{t}, short: true, repsFast: 1, repsSlow: 1,
		random: rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0)),
	}
}

// TestFaults is the matrix in its short form: every fault once. Frames that are
// lost or doubled, a wrong cause and an agent that does not recover fail it;
// the times have three times their budget, because the machine is shared.
// The slow rows wait more than they work, so they run beside the others.
func TestFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("takes minutes")
	}
	for name, slow := range map[string]bool{"fast": false, "slow": true} {
		o := shortForm(t)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, f := range rows() {
				if f.slow == slow {
					t.Run(f.name, func(t *testing.T) { testRow(t, o, f) })
				}
			}
		})
	}
}

// TestAgents strikes the agents of a box, and its controller, once each.
func TestAgents(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a box for each row")
	}
	for _, f := range agentFaults() {
		if !f.brief {
			continue
		}
		t.Run(f.name, func(t *testing.T) {
			o := shortForm(t)
			x, times, err := o.agentRow(f, shortSlack)
			if err != nil {
				t.Fatal(err)
			}
			for _, wrong := range x.problems {
				t.Error(wrong)
			}
			t.Logf("a new frame after %s ms", spreadOfTimes(times))
		})
	}
}

func testRow(t *testing.T, o *options, f *fault) {
	o.ctx, o.notes = t.Context(), testLog{t}
	res := o.repeat(f)
	if res.Skipped != "" {
		t.Skip(res.Skipped)
	}
	for _, wrong := range res.judge(shortSlack) {
		t.Error(wrong)
	}
	if len(res.Samples) > 0 {
		s := res.Samples[0]
		t.Logf("detect %s ms, LIVE %s ms, answer %s ms, drained %s ms; %s; frames %s",
			ms(s.Detect), ms(s.Live), ms(s.Answer), ms(s.Drained), res.captureCell(), res.Ledger)
	}
}

func TestAccount(t *testing.T) {
	id := func(seq uint64) frame.ID { return frame.ID{Epoch: 7, Seq: seq} }
	ok := func(seq, sensor uint64, request string) shot {
		return shot{id: id(seq), status: frame.StatusOK, sensor: sensor, request: request}
	}
	whole := []shot{
		{id: id(0), status: frame.StatusStarted},
		ok(1, 1, ""), ok(2, 2, "a"), ok(3, 2, ""),
		{id: id(5), status: frame.StatusDropped, first: id(4)},
		ok(6, 6, "b"), ok(7, 6, "c"),
	}
	for _, c := range []struct {
		name  string
		shots []shot
		want  ledger
	}{
		{"all there", whole, ledger{Captured: 7, Delivered: 5, Declared: 2}},
		{"one missing", whole[:6], ledger{Captured: 7, Delivered: 4, Declared: 2, Undeclared: 1}},
		{"an ID twice", append(whole[:7:7], whole[3]), ledger{Captured: 7, Delivered: 5, Declared: 2, Duplicates: 1, Again: again{IDs: 1}}},
		{"a request answered twice", append(whole[:6:6], ok(7, 8, "b")), ledger{Captured: 7, Delivered: 5, Declared: 2, Duplicates: 1, Again: again{Requests: 1}}},
		{"an exposure twice", append(whole[:6:6], ok(7, 1, "")), ledger{Captured: 7, Delivered: 5, Declared: 2, Duplicates: 1, Again: again{Exposures: 1}}},
	} {
		if got := account(c.shots, id(7)); got != c.want {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
	}
}

func TestCapture(t *testing.T) {
	start := time.Now()
	var shots []shot
	for n := range 30 {
		at := start.Add(time.Duration(n) * 100 * time.Millisecond)
		if n > 10 {
			at = at.Add(250 * time.Millisecond) // capture paused once
		}
		s := shot{status: frame.StatusOK, sensor: uint64(n), captured: at}
		shots = append(shots, s, s) // a second copy is not a second exposure
	}
	fps, gap := capture(shots, span{start, start.Add(2 * time.Second)}, nil)
	if fps != 9 || gap.length() != 350*time.Millisecond {
		t.Errorf("got %v fps and a gap of %s, want 9 and 350ms", fps, gap.length())
	}
}

func TestStills(t *testing.T) {
	start := time.Now()
	at := func(n int) time.Time { return start.Add(time.Duration(n) * time.Millisecond) }
	s := &stills{all: []span{{at(0), at(10)}, {at(20), at(30)}, {at(40), at(60)}}}
	if got := s.within(span{at(5), at(50)}); got != 25*time.Millisecond {
		t.Errorf("the machine stood still for %s in the span, want 5+10+10 ms", got)
	}
	if got := (*stills)(nil).within(span{at(0), at(60)}); got != 0 {
		t.Errorf("nobody looked, and it stood still for %s", got)
	}
}

func TestJudge(t *testing.T) {
	good := result{
		Samples: []sample{{Detect: 40, Live: 90}, {Detect: 60, Live: 10}, {Live: 10}, {Live: 5}, {Live: 60}}, Gap: 1, FPS: 30,
		Budget: budget{Detect: 60, LiveP50: 10, Live: 90},
	}
	for _, c := range []struct {
		name   string
		change func(*result)
		want   int
	}{
		{"kept", func(*result) {}, 0},
		{"detect", func(r *result) { r.Budget.Detect-- }, 1},
		{"LIVE p50", func(r *result) { r.Budget.LiveP50-- }, 1},
		{"LIVE p99", func(r *result) { r.Budget.Live-- }, 1},
		{"capture", func(r *result) { r.FPS = 20 }, 1},
		{"frames", func(r *result) { r.Ledger.Undeclared, r.Ledger.Duplicates = 1, 1 }, 2},
		{"problems", func(r *result) { r.Problems = []string{"deaf"} }, 1},
	} {
		r := good
		c.change(&r)
		if got := r.judge(1); len(got) != c.want {
			t.Errorf("%s: got %q, want %d complaints", c.name, got, c.want)
		}
	}
}

// TestHostile has each program talk to a Redis that answers anything. How soon it heals
// depends on what else the machine does: the whole form, alone, is for that.
func TestHostile(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	all, err := shortForm(t).attackAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		for _, wrong := range a.judge(int(helplessLimit / healBudget)) {
			t.Errorf("%s, %s: %s", a.Kind, a.Program, wrong)
		}
		t.Logf("%s, %s: %d attempts, %d not used, healed after %s ms, %d MiB above normal", a.Kind, a.Program, a.Count, a.Unused, spreadOfTimes(a.Heals), a.AboveKiB>>10)
	}
}
