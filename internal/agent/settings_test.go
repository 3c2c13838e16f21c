package agent

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"framekeeper/internal/agentapi"
	"framekeeper/internal/testkit/redistest"
)

// Settings are changed in a running agent, through its socket.
func TestSettings(t *testing.T) {
	needRedis(t)
	server := redistest.Start(t)
	config := writeConfig(t, server.URL(), "", small+"fps = 50\nquality = 90\n")
	stop, log := startAgent(t, config)
	caller := agentapi.Caller{Path: agentapi.Path(filepath.Join(filepath.Dir(config), "state"), "greencam1")}
	a := newAsker(t, server.URL())
	before := a.ask(t, nil)

	fps, quality := 20.0, 5
	eventually(t, "the settings are taken", func() bool {
		got, err := caller.Set(t.Context(), agentapi.Settings{PublishFPS: &fps, Quality: &quality})
		return err == nil && *got.PublishFPS == fps && *got.Quality == quality
	})
	eventually(t, "frames nobody asked for", func() bool { return len(entries(t, server.Client())) > 10 })
	if after := a.ask(t, nil); after.Header.Bytes > before.Header.Bytes/2 {
		t.Errorf("an answer of quality 5 has %d bytes, of 90 it had %d", after.Header.Bytes, before.Header.Bytes)
	}
	eventually(t, "a status that says so", func() bool {
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
		t.Error("the log does not tell")
	}
}

func TestQualityOfPNG(t *testing.T) {
	needRedis(t)
	server := redistest.Start(t)
	config := writeConfig(t, server.URL(), "", tiny+"encoding = \"png\"\n")
	startAgent(t, config)
	caller := agentapi.Caller{Path: agentapi.Path(filepath.Join(filepath.Dir(config), "state"), "greencam1")}
	quality := 50
	eventually(t, "a refusal", func() bool {
		_, err := caller.Set(t.Context(), agentapi.Settings{Quality: &quality})
		return err != nil && strings.Contains(err.Error(), "png, which has none")
	})
}
