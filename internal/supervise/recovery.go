package supervise

import (
	"context"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rs/zerolog"
)

// The variables that tell a recovery command what it is to recover.
const (
	EnvCamera   = "FRAMEKEEPER_CAMERA"
	EnvSource   = "FRAMEKEEPER_SOURCE"    // without credentials
	EnvExitCode = "FRAMEKEEPER_EXIT_CODE" // the last process's; 137 if it was killed for its silence
	EnvRestarts = "FRAMEKEEPER_RESTARTS"  // failures in a row
)

const (
	// recoveryLines is how much of one run's output the log takes.
	recoveryLines = 200
	// recoveryGrace is how long a command may go on when we stop, and again
	// after SIGTERM: cut off between "off" and "on", it would leave a USB port
	// without power.
	recoveryGrace = 1500 * time.Millisecond
)

// recovery runs the operator's command, never two at once on the box.
type recovery struct {
	opt *Options
	one chan struct{} // holds a value while any agent's command runs; capacity 1
	log zerolog.Logger
}

// recover runs the recovery command if the camera has failed often enough, and
// returns when it has ended. The next start comes after it.
func (a *agent) recover(ctx context.Context, e ending) {
	if a.opt.RecoveryCommand == "" || a.failures < max(a.opt.RecoveryAfter, 1) {
		return
	}
	failures := a.failures
	a.failures = 0 // counting starts anew, whatever the command achieves
	state := a.snapshot().State
	a.set(Recovery, 0)
	outcome, ran := a.recovery.run(ctx, append(os.Environ(),
		EnvCamera+"="+a.spec.Name, EnvSource+"="+a.spec.Source,
		EnvExitCode+"="+strconv.Itoa(e.exitCode()), EnvRestarts+"="+strconv.Itoa(failures)))
	if !ran {
		return
	}
	a.mu.Lock()
	a.status.Recoveries++
	a.status.LastRecovery, a.status.Failures = outcome, 0
	a.mu.Unlock()
	a.set(state, 0)
}

// run runs the command once and says how it ended. It waits for its turn.
func (r *recovery) run(ctx context.Context, env []string) (outcome string, ran bool) {
	select {
	case r.one <- struct{}{}:
	case <-ctx.Done():
		return "", false
	}
	defer func() { <-r.one }()
	began := time.Now()
	r.log.Warn().Msg("The camera fails repeatedly; running recovery_command")
	out := &outputLog{log: r.log}
	// It has no death signal: one that switches a USB port off must also switch
	// it on again when we are killed meanwhile.
	p, err := start(launch{path: "/bin/sh", args: []string{"-c", r.opt.RecoveryCommand}, env: env, out: &sink{w: out}})
	if err != nil {
		r.log.Error().Err(err).Msg("The recovery_command cannot be started")
		return "cannot be started: " + err.Error(), true
	}
	late := r.await(ctx, p)
	outcome = ended(p.end, late)
	level := zerolog.InfoLevel
	if late != "" || p.end.exitCode() != 0 {
		level = zerolog.ErrorLevel
	}
	r.log.WithLevel(level).Str("outcome", outcome).Stringer("took", time.Since(began).Round(time.Millisecond)).
		Int("lines_left_out", max(0, out.lines-recoveryLines)).Msg("The recovery_command has ended")
	return outcome, true
}

func ended(e ending, late string) string {
	switch {
	case late != "":
		return late
	case e.state == nil:
		return "could not be waited for: " + e.startErr.Error()
	}
	return e.state.String()
}

// await waits for the command, ends it when it takes too long or we stop, and
// says why it did.
func (r *recovery) await(ctx context.Context, p *process) (why string) {
	why = "cut off after " + r.opt.RecoveryTimeout.String()
	limit := time.NewTimer(r.opt.RecoveryTimeout)
	defer limit.Stop()
	for stopping, signal := ctx.Done(), syscall.SIGTERM; ; {
		select {
		case <-p.done:
			if signal == syscall.SIGTERM { // it was never sent
				why = ""
			}
			return why
		case <-stopping:
			stopping = nil
			if signal == syscall.SIGTERM {
				why = "cut off: the controller is stopping"
			}
			limit.Reset(recoveryGrace)
		case <-limit.C:
			p.signalGroup(signal)
			signal = syscall.SIGKILL
			limit.Reset(recoveryGrace)
		}
	}
}

// outputLog puts a command's output into the log, one record a line.
type outputLog struct {
	log   zerolog.Logger
	lines int
}

// Write takes one line; the sink calls it for one at a time.
func (t *outputLog) Write(line []byte) (int, error) {
	if t.lines++; t.lines <= recoveryLines {
		t.log.Info().Str("output", printable([]byte(strings.TrimSuffix(string(line), "\n")))).Msg("Output of recovery_command")
	}
	return len(line), nil
}
