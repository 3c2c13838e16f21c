package camera

import (
	"os/exec"
	"strings"
	"testing"

	"framekeeper/pkg/camera"
)

// programs are the agent's other uses of a camera.
func (w *world) programs(t *testing.T) {
	t.Run("list-devices", func(t *testing.T) {
		out := w.run(t, w.agent, "--list-devices")
		for _, want := range []string{w.device, "vivid", "YUYV", "640x360"} {
			if !strings.Contains(out, want) {
				t.Errorf("--list-devices does not name %s:\n%s", want, out)
			}
		}
	})
	t.Run("check", func(t *testing.T) {
		s := &scene{T: t, world: w, dir: t.TempDir()}
		s.configure(setup{source: w.device, width: 640, height: 360, fps: 15})
		if out := w.run(t, w.agent, "--config", s.config(), "--check"); !strings.Contains(out, "640x360 yuyv") {
			t.Errorf("--check prints %s", out)
		}
	})
	t.Run("in use", func(t *testing.T) {
		s := w.stage(t, w.quick())
		out, err := exec.CommandContext(t.Context(), w.agent, "--config", s.config(), "--check").CombinedOutput()
		if err == nil || !strings.Contains(string(out), camera.ErrBusy.Error()) {
			t.Errorf("a camera that is streaming: --check prints %s and ends with %v, want %q", out, err, camera.ErrBusy)
		}
		s.streaming()
	})
}
