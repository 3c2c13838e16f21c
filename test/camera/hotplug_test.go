package camera

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"framekeeper/pkg/camera"
)

const (
	vividDevice = "vivid.0"
	vividDriver = "/sys/bus/platform/drivers/vivid/"
	exitCamera  = 3 // cam-agent's, for a camera that it has abandoned
	exitWithin  = 15 * time.Second
)

// vividOptions are what camera-vm.sh loads it with.
func vividOptions() []string {
	return []string{"n_devs=1", "node_types=0x1", "num_inputs=1", "input_types=0"}
}

// unplug takes the device from under whoever has it open, as a cable does.
func (s *scene) unplug() { s.write(vividDriver + "unbind") }
func (s *scene) plug()   { s.write(vividDriver + "bind") }

func (s *scene) write(file string) {
	s.Helper()
	if err := os.WriteFile(file, []byte(vividDevice), 0o200); err != nil {
		s.Fatal(err)
	}
}

// hotplug takes the camera away and brings it back.
func (w *world) hotplug(t *testing.T) {
	lasting := w.quick()
	lasting.reopens = 20 // loading a driver can take longer than the default's attempts
	s := w.stage(t, lasting)
	for _, f := range []fault{
		{name: "unplugged for 1 s", begin: (*scene).unplug, lasts: time.Second, end: (*scene).plug},
		{name: "driver unloaded for 1 s", begin: (*scene).unload, lasts: time.Second, end: (*scene).load},
	} {
		f.reason, f.notice, f.back = "unplugged", noticeError, pluggedSoon
		t.Run(f.name, func(t *testing.T) { s.in(t).runFault(f) })
	}
	if err := s.agent.End(syscall.SIGTERM); err != nil {
		t.Errorf("the agent ended with %v", err)
	}
	t.Run("gone for good", func(t *testing.T) { w.stage(t, w.quick()).gone() })
}

// unload removes the driver from the kernel, which refuses that for as long as
// anybody holds the device: so it shows that the agent has let go of it.
func (s *scene) unload() {
	s.unplug()
	deadline := time.Now().Add(patient)
	for {
		out, err := exec.CommandContext(s.Context(), "modprobe", "-r", "vivid").CombinedOutput()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			s.Fatalf("the driver is still in use: %v\n%s", err, out)
		}
		s.sleep(10 * time.Millisecond)
	}
}

func (s *scene) load() {
	s.run(s.T, "modprobe", append([]string{"vivid"}, vividOptions()...)...)
}

// gone leaves the camera away until the agent ends with the exit code that
// makes the controller start a fresh one, which finds the camera when it is
// there again.
func (s *scene) gone() {
	before, began := s.streaming(), time.Now()
	s.unplug()
	noticed, ok := s.watcher.status(s.Context(), began, noticeError, func(c capture) bool { return c.State != camera.StateOK })
	if !ok {
		s.Fatalf("the status does not show it within %s: %+v", noticeError, s.watcher.last())
	}
	select {
	case <-s.agent.Exited:
	case <-time.After(exitWithin):
		s.Fatalf("the agent has not ended within %s: %+v", exitWithin, s.watcher.last())
	}
	o := outcome{name: "gone for good", notice: noticed.at.Sub(began), recover: never, note: "exit 3 after " + ms(time.Since(began)) + " ms: " + noticed.Reason}
	var exit *exec.ExitError
	if err := s.agent.End(syscall.SIGTERM); !errors.As(err, &exit) || exit.ExitCode() != exitCamera {
		s.Errorf("the agent ended with %v, want exit status %d", err, exitCamera)
	}
	o.reopens = s.watcher.last().Reopens - before.Reopens
	s.replies(&o, noticed.at, time.Now())
	s.plug()
	plugged := time.Now()
	s.start()
	o.recover = s.frame(plugged).Sub(plugged)
	s.record(o)
}
