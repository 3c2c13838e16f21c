package agent

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"framekeeper/internal/configfile"
	"framekeeper/internal/logging"
	"framekeeper/internal/status"
	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/camera/testsrc"
	"framekeeper/pkg/rpc"
)

// fault is what a test camera suffers from at the moment.
type fault string

const (
	noFault     fault = ""
	slowFault   fault = "slow"   // opening it takes until something else is wanted
	silentFault fault = "silent" // open, and gives no frames
	goneFault   fault = "gone"   // cannot be opened
	hungFault   fault = "hung"   // a C call does not return
	endedFault  fault = "ended"
)

// faultyCamera is the test pattern with the fault that present returns.
type faultyCamera struct {
	camera.Source
	present func() fault
}

func faultyOpener(present func() fault) camera.Opener {
	return func(ctx context.Context, cfg camera.Config) (camera.Source, error) {
		for present() == slowFault {
			if !rest(ctx) {
				return nil, ctx.Err()
			}
		}
		if present() == goneFault {
			return nil, camera.ErrNoDevice
		}
		src, err := testsrc.Open(ctx, cfg)
		return &faultyCamera{src, present}, err
	}
}

// rest waits a moment.
func rest(ctx context.Context) bool {
	select {
	case <-time.After(2 * time.Millisecond):
		return true
	case <-ctx.Done():
		return false
	}
}

func (s *faultyCamera) Next(ctx context.Context, f *camera.Frame) error {
	for {
		if err := s.suffer(ctx, s.present()); err != nil {
			return err
		}
		err := s.Source.Next(ctx, f)
		now := s.present() // the test may have chosen one meanwhile
		if err != nil || now == noFault {
			return err
		}
		if err := s.suffer(ctx, now); err != nil {
			return err
		}
	}
}

func (s *faultyCamera) suffer(ctx context.Context, f fault) error {
	switch f {
	case goneFault, slowFault:
		return camera.ErrNoData
	case endedFault:
		return io.EOF
	case hungFault:
		select {}
	case silentFault:
		for s.present() == silentFault {
			if !rest(ctx) {
				return ctx.Err()
			}
		}
	}
	return nil
}

// switchable is a fault that the test sets.
type switchable struct {
	mu  sync.Mutex // guards now
	now fault
}

func (s *switchable) set(f fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = f
}

func (s *switchable) get() fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// startPipeline is startAgent with another driver.
func startPipeline(t *testing.T, path string, d driver) {
	t.Helper()
	cfg, err := configfile.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	var out testkit.Log
	log, closer, err := logging.New(cfg.Log, "cam-agent", &out)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- pipeline(ctx, cfg, cfg.Cameras[0], d, log) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("agent ended with %v", err)
		}
		_ = closer.Close()
		if t.Failed() {
			t.Logf("agent's log:\n%s", &out)
		}
	})
}

// refused asks, and returns the agent's reason and how long it took.
func (a *asker) refused(t *testing.T, fields map[string]any) (reason string, took time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
	defer cancel()
	began := time.Now()
	m, err := a.Request(ctx, fields)
	var reply *rpc.ReplyError
	if !errors.As(err, &reply) {
		t.Fatalf("request %v got %v, %v; want an error reply", fields, m != nil, err)
	}
	return reply.Reason, time.Since(began)
}

// A request waits while a frame may come. Once the camera is known to be lost
// it gets its answer at once, with the reason.
func TestRequestsDuringTrouble(t *testing.T) {
	testkit.NeedRedis(t)
	const long = 15 * time.Second // no request waits for that here
	server := redistest.Start(t)
	cam := &switchable{now: slowFault}
	startPipeline(t, writeConfig(t, server.URL(), "", tiny+"stall_timeout = \"500ms\"\nmax_reopens = 1000\nstatus_interval = \"100ms\""),
		driver{open: faultyOpener(cam.get)})
	a := newAsker(t, server.URL())
	state := func(want string) {
		t.Helper()
		testkit.Eventually(t, "the status "+want, func() bool {
			s, _ := server.Client().Get(context.Background(), "status:greencam1").Result()
			return strings.Contains(s, `"capture":{"state":"`+want+`"`)
		})
	}
	waits := map[string]any{"timeout_ms": long.Milliseconds()}

	// Opened for the first time: it waits, and gets the first frame.
	if reason, took := a.refused(t, map[string]any{"timeout_ms": 300}); took < 300*time.Millisecond || !strings.Contains(reason, "being opened") {
		t.Errorf("opening: answered after %v with %q, want 300ms and why", took, reason)
	}
	time.AfterFunc(100*time.Millisecond, func() { cam.set(noFault) })
	a.ask(t, waits)

	// Silent: one that waits is answered when the stall is noticed.
	cam.set(silentFault)
	reason, took := a.refused(t, waits)
	if took > 5*time.Second || !strings.Contains(reason, "no frames for 500ms") {
		t.Errorf("stalling: answered after %v with %q, want about 500ms and why", took, reason)
	}
	t.Logf("waiting when the camera fell silent: answered after %v: %s", took.Round(time.Millisecond), reason)

	// Lost: at once, except where an older frame will do.
	cam.set(goneFault)
	testkit.Eventually(t, "the reason in the status", func() bool {
		s, _ := server.Client().Get(context.Background(), "status:greencam1").Result()
		return strings.Contains(s, "no such camera")
	})
	for _, id := range []string{"a", "b"} {
		reason, took := a.refused(t, map[string]any{"timeout_ms": long.Milliseconds(), "id": id})
		if took > 300*time.Millisecond || !strings.Contains(reason, "no such camera") || !strings.Contains(reason, "attempt") {
			t.Errorf("retrying: answered after %v with %q, want at once and why", took, reason)
		}
		t.Logf("while it is lost: answered after %v: %s", took.Round(10*time.Microsecond), reason)
	}
	a.ask(t, map[string]any{"timeout_ms": long.Milliseconds(), "max_age_ms": 3600000})

	cam.set(noFault)
	state("ok")
	a.ask(t, waits)

	cam.set(endedFault)
	state("ended")
	if reason, took := a.refused(t, waits); took > 300*time.Millisecond || !strings.Contains(reason, "camera ended: source has ended") {
		t.Errorf("ended: answered after %v with %q, want at once and why", took, reason)
	}
}

// The end of an agent whose camera has been given up is in order: what
// waited is answered, and the next start has nothing to be unsure of.
func TestACameraThatIsGivenUpEndsInOrder(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	cam := &switchable{}
	path := writeConfig(t, server.URL(), "", tiny+"stall_timeout = \"200ms\"\nmax_reopens = 1\npublish_fps = 30")
	cfg, err := configfile.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	var out testkit.Log
	log, closer, err := logging.New(cfg.Log, "cam-agent", &out)
	if err != nil {
		t.Fatal(err)
	}
	defer closer.Close()
	done := make(chan error, 1)
	go func() {
		done <- pipeline(context.Background(), cfg, cfg.Cameras[0], driver{open: faultyOpener(cam.get)}, log)
	}()
	testkit.Eventually(t, "frames flow", func() bool { return server.Client().XLen(context.Background(), "frames:greencam1").Val() > 5 })
	cam.set(goneFault)
	if err := <-done; !errors.Is(err, camera.ErrReopenLimit) || exitCode(err) != status.ExitCamera {
		t.Errorf("ended with %v, exit code %d; want ErrReopenLimit and %d", err, exitCode(err), status.ExitCamera)
	} else if !strings.HasPrefix(err.Error(), "camera abandoned after 1 attempt to reopen it: ") {
		t.Errorf("ended with %q, want the reason once", err)
	}
	b, err := os.ReadFile(cfg.StateDir + "/greencam1/state.json")
	if err != nil || !strings.Contains(string(b), `"clean":true`) {
		t.Errorf("saved state %s, %v; want clean", b, err)
	}
	if s := server.Client().Get(context.Background(), "status:greencam1").Val(); !strings.Contains(s, "no such camera") {
		t.Errorf("the status it leaves for a while lacks the reason: %s", s)
	}
}
