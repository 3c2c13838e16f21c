package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"framekeeper/pkg/camera"
	"framekeeper/pkg/frame"

	"github.com/rs/zerolog"

	"framekeeper/internal/agentapi"
	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/redistest"
)

// Settings are changed in a running agent, through its socket.
func TestSettings(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	config := writeConfig(t, server.URL(), "", small+"fps = 50\nquality = 90\n")
	stop, log := startAgent(t, config)
	caller := agentapi.Client{Path: agentapi.Path(filepath.Join(filepath.Dir(config), "state"), "greencam1")}
	a := newAsker(t, server.URL())
	before := a.ask(t, nil)

	fps, quality := 20.0, 5
	testkit.Eventually(t, "the settings are taken", func() bool {
		got, err := caller.Set(t.Context(), agentapi.Settings{PublishFPS: &fps, Quality: &quality})
		return err == nil && *got.PublishFPS == fps && *got.Quality == quality
	})
	testkit.Eventually(t, "continuous frames", func() bool { return len(entries(t, server.Client())) > 10 })
	if after := a.ask(t, nil); after.Header.Bytes > before.Header.Bytes/2 {
		t.Errorf("an answer of quality 5 has %d bytes, of 90 it had %d", after.Header.Bytes, before.Header.Bytes)
	}
	testkit.Eventually(t, "the settings in the status", func() bool {
		text := server.Client().Get(t.Context(), "status:greencam1").Val()
		return strings.Contains(text, `"publish_fps":20,`) && strings.Contains(text, `"quality":5,`)
	})
	_, err := caller.Set(t.Context(), agentapi.Settings{PublishFPS: new(float64), Controls: map[string]int64{"gain": 3}})
	if err == nil || !strings.Contains(err.Error(), "gain") || !strings.Contains(err.Error(), "none that can be set") {
		t.Errorf("a control: got %v, want that the test pattern has none", err)
	}
	wrong := 2000.0
	if _, err = caller.Set(t.Context(), agentapi.Settings{PublishFPS: &wrong}); err == nil || !strings.Contains(err.Error(), "0 to 1000") {
		t.Errorf("publish_fps 2000: got %v, want what was expected", err)
	}
	if got, err := caller.Get(t.Context(), "/settings", 1000); err != nil || !strings.Contains(string(got), `"publish_fps":20,`) {
		t.Errorf("after two refusals: got %s, %v, want the settings as before", got, err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(caller.Path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket after the end: %v", err)
	}
	if !strings.Contains(log.String(), "Settings changed") {
		t.Error("the log lacks the change")
	}
}

// fakeControls is an open camera with one control.
type fakeControls struct {
	health camera.Health
	set    map[string]int64
}

func (c *fakeControls) Health() camera.Health { return c.health }
func (c *fakeControls) SetControls(ctx context.Context, controls map[string]int64) error {
	if _, limited := ctx.Deadline(); !limited {
		return errors.New("no limit")
	}
	if _, has := controls["exposure"]; !has {
		return errors.New("no such control")
	}
	c.set = controls
	return nil
}

// fakeOutput writes down what is set.
type fakeOutput []string

func (o *fakeOutput) SetQuality(q int)          { *o = append(*o, fmt.Sprint("quality ", q)) }
func (o *fakeOutput) SetPublishFPS(fps float64) { *o = append(*o, fmt.Sprint("fps ", fps)) }

func TestLiveSettings(t *testing.T) {
	fps, same, quality, wrong := 20.0, 5.0, 80, 101
	for name, c := range map[string]struct {
		changes agentapi.Settings
		camera  func(*camera.Config, *camera.Health)
		err     string
		output  string
	}{
		"a rate":               {changes: agentapi.Settings{PublishFPS: &fps}, output: "[quality 90 fps 20]"},
		"the same rate":        {changes: agentapi.Settings{PublishFPS: &same}, output: "[quality 90]"}, // it would begin anew
		"a quality":            {changes: agentapi.Settings{Quality: &quality}, output: "[quality 80]"},
		"a control":            {changes: agentapi.Settings{Controls: map[string]int64{"exposure": 7}}, output: "[quality 90]"},
		"nothing":              {err: "nothing to set"},
		"a wrong quality":      {changes: agentapi.Settings{PublishFPS: &fps, Quality: &wrong}, err: "quality = 101: expected"},
		"a control it has not": {changes: agentapi.Settings{PublishFPS: &fps, Controls: map[string]int64{"gain": 7}}, err: "no such control"},
		"the quality of a PNG": {
			changes: agentapi.Settings{PublishFPS: &fps, Quality: &quality}, err: "png, which has none",
			camera: func(cam *camera.Config, _ *camera.Health) { cam.Encoding = frame.PNG },
		},
		"the quality of the camera's JPEGs": {
			changes: agentapi.Settings{Quality: &quality}, err: "passed on unchanged",
			camera: func(_ *camera.Config, h *camera.Health) { h.Frames, h.Info.Format = 1, camera.MJPEG },
		},
	} {
		t.Run(name, func(t *testing.T) {
			cam := camera.Default()
			cam.Name, cam.Source, cam.PublishFPS, cam.Quality = "cam1", "v4l2:/dev/video0", 5, 90
			controls, output, changes := &fakeControls{}, &fakeOutput{}, 0
			if c.camera != nil {
				c.camera(&cam, &controls.health)
			}
			s := &liveSettings{cam: cam, controls: controls, output: output, changed: func() { changes++ }, log: zerolog.Nop()}
			before := s.current()
			err := s.Change(t.Context(), c.changes)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("got %v, want %q", err, c.err)
				}
				if !reflect.DeepEqual(s.current(), before) || len(*output)+len(controls.set)+changes > 0 {
					t.Errorf("a refused change has changed %+v, %v, %v", s.current(), *output, controls.set)
				}
				return
			}
			if err != nil || fmt.Sprint(*output) != c.output || changes != 1 || !maps.Equal(controls.set, c.changes.Controls) {
				t.Errorf("got %v, %v, %v and %d changes; want %s and one", err, *output, controls.set, changes, c.output)
			}
			if got := s.Settings(); *got.PublishFPS != s.current().PublishFPS || got.Controls["exposure"] != c.changes.Controls["exposure"] {
				t.Errorf("the settings are %+v", got)
			}
		})
	}
}
