package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"framekeeper/internal/status"
	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/outbox"
)

// rarely is a status interval that no start can wait for.
const rarely = "status_interval = \"10m\"\n"

// soon is how long a start beside a leftover status may take.
const soon = 8 * time.Second

// leave puts a status into Redis as an agent leaves it whose box was rebooted.
func leave(t *testing.T, server *redistest.Server, ttl time.Duration) {
	t.Helper()
	left, err := json.Marshal(identity{Instance: "before", Owner: "another", Host: "box", PID: 7, Boot: "before", TimeUS: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Client().Set(t.Context(), "status:greencam1", left, ttl).Err(); err != nil {
		t.Fatal(err)
	}
}

// current is what the agent that has the status reports there.
func current(t *testing.T, server *redistest.Server) (s status.Agent) {
	t.Helper()
	_ = json.Unmarshal([]byte(server.Client().Get(t.Context(), "status:greencam1").Val()), &s) // of none it is zero
	return s
}

// awaitOwn waits until an agent is LIVE beside whose status nobody else's was left.
func awaitOwn(t *testing.T, server *redistest.Server, notBy ...string) status.Agent {
	t.Helper()
	var s status.Agent
	testkit.Eventually(t, "the agent is LIVE", func() bool {
		s = current(t, server)
		return s.Link.State == "LIVE" && !strings.Contains(strings.Join(notBy, " "), s.Instance)
	})
	return s
}

func TestTheQuestionIsRefusedWithItsNonceOnBothWires(t *testing.T) {
	i := newInquiry(camera.Config{}, time.Minute)
	for name, w := range wires {
		req, err := w.parse([]byte(i.question))
		if !errors.Is(err, frame.ErrRequest) {
			t.Errorf("wire %s: the question is parsed with %v, want a refusal", name, err)
		}
		r := &responder{responderConfig: responderConfig{Clock: frame.NewClock()}, wire: w}
		refusal, err := r.refusal(req, time.Now(), err)
		if err != nil || refusal.Size() > maxRefusal {
			t.Fatalf("wire %s: refusal of %d bytes, %v", name, refusal.Size(), err)
		}
		reply := refusal.Message().Wire()
		if w.reply != nil {
			if reply, err = w.reply(refusal.Message().Header, nil); err != nil {
				t.Fatal(err)
			}
		}
		if !strings.Contains(string(reply), i.nonce) {
			t.Errorf("wire %s: the reply does not echo %s: %q", name, i.nonce, reply)
		}
	}
	other := newInquiry(camera.Config{}, 0)
	if !i.own([]byte(i.question)) || i.foreign([]byte(i.question)) || other.own([]byte(i.question)) || !other.foreign([]byte(i.question)) {
		t.Error("an agent does not distinguish its question from another's")
	}
	if i.wait != time.Minute || other.wait != time.Second {
		t.Error("an answer has not as long as a probe, and a second")
	}
}

// A box that is rebooted finds its own status, of another boot. That must not cost it
// three intervals. The agent's own question is no request to it.
func TestALeftoverStatusDoesNotDelayLive(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	for _, wire := range []string{"json", "pickle"} {
		t.Run(wire, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			leave(t, server, 30*time.Minute)
			answers := server.Client().Subscribe(t.Context(), "stream/greencam1")
			defer func() { _ = answers.Close() }()
			began := time.Now()
			stop, log := startAgent(t, writeConfig(t, server.URL(), "", tiny+rarely+fmt.Sprintf("wire = %q\n", wire)))
			s := awaitOwn(t, server, "before")
			if took := time.Since(began); took > soon || took < 2*time.Second {
				t.Errorf("LIVE after %s, want two seconds of silence before, and %s at most", took, soon)
			}
			if s.Requests.Received != 0 || s.Requests.Errors != 0 {
				t.Errorf("the agent counts its own question: %+v", s.Requests)
			}
			if strings.Contains(log.String(), "request") {
				t.Error("the log is about a request")
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
			for {
				m, err := answers.ReceiveTimeout(t.Context(), 50*time.Millisecond)
				if err != nil {
					break
				}
				if strings.Contains(fmt.Sprint(m), "presence-") {
					t.Errorf("the agent has answered its own question: %q", fmt.Sprint(m))
				}
			}
		})
	}
}

// A live agent is found by its answer, long before it renews its status.
func TestALiveAgentIsFoundByItsAnswer(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	for _, wire := range []string{"json", "pickle"} {
		t.Run(wire, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			more := tiny + rarely + fmt.Sprintf("wire = %q\n", wire)
			_, log := startAgent(t, writeConfig(t, server.URL(), "", more))
			first := awaitOwn(t, server)
			began := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
			defer cancel()
			err := Program().Run(ctx, []string{"--config", writeConfig(t, server.URL(), "", more)}, io.Discard, &testkit.Log{})
			want := fmt.Sprintf("process %d on host %s answers for it over the same Redis; stop one of them", first.PID, first.Host)
			if !errors.Is(err, outbox.ErrClaimed) || exitCode(err) != status.ExitClaimed || !strings.Contains(err.Error(), want) {
				t.Errorf("the second agent ended with %v (exit code %d), want %v: %s", err, exitCode(err), outbox.ErrClaimed, want)
			}
			if took := time.Since(began); took > soon {
				t.Errorf("refused after %s, want %s", took, soon)
			}
			if s := current(t, server); s.Instance != first.Instance {
				t.Errorf("the status is of %s, want the first agent's, %s", s.Instance, first.Instance)
			}
			if n := len(entries(t, server.Client())); n > 0 {
				t.Errorf("the question cost %d exposures", n)
			}
			for _, word := range []string{"WRN", "ERR"} {
				if strings.Contains(log.String(), word) {
					t.Error("the first agent was disturbed")
				}
			}
		})
	}
}

// An agent that is stopped does not answer. When it goes on, both report the other.
func TestAFrozenAgentIsTakenForDeadAndNoticesTheOther(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	frozen := &agentProcess{cmd: exec.Command(os.Args[0], "--config", writeConfig(t, server.URL(), "", tiny+rarely))}
	frozen.cmd.Env = append(os.Environ(), asAgent+"=1")
	frozen.cmd.Stdout, frozen.cmd.Stderr = &frozen.log, &frozen.log
	if err := frozen.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = frozen.cmd.Process.Kill(), frozen.cmd.Wait() }()
	first := awaitOwn(t, server)
	if err := frozen.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	_, log := startAgent(t, writeConfig(t, server.URL(), "", tiny+"status_interval = \"500ms\"\n"))
	awaitOwn(t, server, first.Instance)
	if took := time.Since(began); took > soon {
		t.Errorf("LIVE after %s, want %s", took, soon)
	}
	if err := frozen.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	const message = "Another agent publishes its status under this camera's name: stop one of them"
	testkit.Eventually(t, "both report the other", func() bool {
		return strings.Contains(frozen.log.String(), message) && strings.Contains(log.String(), message)
	})
}

// Where the agent may not ask, its start waits as long as the status stands.
func TestAnAgentThatMayNotAskWaitsForTheStatusToExpire(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	const rights = "on >secret resetkeys ~frames:* ~status:* resetchannels &request/* &status/* &probe/* +subscribe +publish +get +pttl +set +del +xadd +xlen +xtrim +xrevrange +xinfo|stream +xinfo|groups +multi +exec +role"
	for name, user := range map[string]string{
		"subscribe": rights + " -publish (+publish &*)",
		"publish":   rights + " -publish &stream/* (+publish &status/* &stream/* &probe/*)",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, redistest.WithPassword("secret"), redistest.WithACL("user agent "+user))
			leave(t, server, 4*time.Second)
			began := time.Now()
			_, log := startAgent(t, writeConfig(t, server.URL(),
				fmt.Sprintf("username = \"agent\"\npassword_file = %q\n", server.PasswordFile()), tiny))
			awaitOwn(t, server, "before")
			if took := time.Since(began); took < 3500*time.Millisecond {
				t.Errorf("LIVE after %s, while the other's status stood", took)
			}
			const message = "The other agent cannot be asked; waiting until its status is renewed or expires"
			if n := strings.Count(log.String(), message); n != 1 || !strings.Contains(log.String(), "NOPERM") {
				t.Errorf("%q was logged %d times", message, n)
			}
		})
	}
}
