package configfile

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"framekeeper/internal/bytesize"
	"framekeeper/internal/config"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/outbox"
)

// oneCamera is the least a file must have.
const oneCamera = "\n[[camera]]\nname = \"a\"\nsource = \"test:\"\n"

func mustParse(t *testing.T, text string, environ ...string) *Config {
	t.Helper()
	c, err := Parse("config.toml", []byte(text), environ)
	if err != nil {
		t.Fatalf("refused:\n%v", err)
	}
	return c
}

func TestParseSetsEveryKindOfValue(t *testing.T) {
	c := mustParse(t, `
state_dir = "/s"
[redis]
url = "rediss://r.example:6380/2"
sentinel_master = "m"
sentinel_addrs = ["a:1", "b:2"]
connection_check_interval = "1m"
[delivery]
mode = "both"
stream_max_bytes = "1.5GiB"
[log]
max_backups = 7
[[camera]]
name = "a"
source = "/dev/video0"
fps = 25
publish_fps = 0.5
encoding = "raw"
wire = "pickle"
[camera.controls]
exposure = 250
gain = -3
`)
	want := wantSample()
	want.Path, want.StateDir = "config.toml", "/s"
	want.Redis.URL, want.Redis.SentinelName, want.Redis.Sentinels = "rediss://r.example:6380/2", "m", []string{"a:1", "b:2"}
	want.Redis.CheckInterval = time.Minute
	want.Delivery.Mode, want.Delivery.StreamMaxBytes = outbox.ModeBoth, 1536*bytesize.MiB
	want.Log.MaxBackups = 7
	cam := camera.Default()
	cam.Name, cam.Source, cam.FPS, cam.PublishFPS, cam.Encoding, cam.Wire = "a", "/dev/video0", 25, 0.5, frame.Raw, camera.WirePickle
	cam.Controls = map[string]int64{"exposure": 250, "gain": -3}
	cam.FillNames()
	want.Cameras = []camera.Config{cam}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("\n got %+v\nwant %+v", c, want)
	}
}

func TestParseFormsOfTOML(t *testing.T) {
	for name, text := range map[string]string{
		"dotted keys":    "log.level = \"debug\"\ncamera = [{ name = \"a\", source = \"test:\", controls.gain = 1 }]",
		"inline table":   "log = { level = \"debug\" }\n[[camera]]\nname = \"a\"\nsource = 'test:'\ncontrols = { gain = 1 }",
		"quoted and BOM": "\ufeff[\"log\"]\n\"level\" = '''debug'''\r\n[[camera]]\nname = \"\\u0061\"\nsource = \"\"\"\ntest:\"\"\"\n[camera.controls]\ngain = 0x1",
	} {
		c := mustParse(t, text)
		if c.Log.Level != "debug" || len(c.Cameras) != 1 || c.Cameras[0].Name != "a" || c.Cameras[0].Controls["gain"] != 1 {
			t.Errorf("%s: got %+v", name, c)
		}
	}
}

func TestCamerasShareNothing(t *testing.T) {
	c := mustParse(t, oneCamera+"controls = { gain = 1 }\nwidth = 640\n[[camera]]\nname = \"b\"\nsource = \"test:\"\n")
	if c.Cameras[1].Width != 1280 || len(c.Cameras[1].Controls) != 0 {
		t.Errorf("the second camera got the first one's settings: %+v", c.Cameras[1])
	}
	c.Cameras[1].Controls["x"] = 1
	c.Redis.Sentinels = append(c.Redis.Sentinels, "x:1")
	other := mustParse(t, oneCamera)
	if len(other.Cameras[0].Controls) != 0 || len(other.Redis.Sentinels) != 0 || len(camera.Default().Controls) != 0 {
		t.Errorf("a change of one Config shows in another: %+v", other)
	}
	if a, b := c.Cameras[0], c.Cameras[1]; a.RequestTopic != "request/a" || b.RequestTopic != "request/b" || b.FramesKey != "frames:b" {
		t.Errorf("names on Redis: %+v, %+v", a, b)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "config.toml")
	_, err := Load(path)
	if err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "--config FILE") {
		t.Errorf("no file: got error %v, want one line that names it and says what to do", err)
	}
	if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("a directory: got error %v, want one that names it", err)
	}
	if err := os.WriteFile(path, []byte("[log]\nlevel = \"warn\""+oneCamera), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("FRAMEKEEPER_CLIENT_QUEUE_SIZE", "7")
	c, err := Load(path)
	if err != nil || c.Path != path || c.Log.Level != "warn" || c.Client.Receiver.QueueSize != 7 {
		t.Errorf("got %+v, %v", c, err)
	}
	if err := os.WriteFile(path, []byte("x ="), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.HasPrefix(err.Error(), path+":1: not valid TOML") {
		t.Errorf("not TOML: got error %v", err)
	}
}

func TestCamera(t *testing.T) {
	c := mustParse(t, oneCamera+"[[camera]]\nname = \"b\"\nsource = \"test:\"\n")
	cam, err := c.Camera("b")
	if err != nil || cam != &c.Cameras[1] {
		t.Errorf("got %+v, %v; want the second camera", cam, err)
	}
	_, err = c.Camera("z")
	if want := `no camera "z" in config.toml; it has a, b`; err == nil || err.Error() != want {
		t.Errorf("got error %v, want %s", err, want)
	}
}

func FuzzParse(f *testing.F) {
	sample, err := os.ReadFile(samplePath)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(sample), "FRAMEKEEPER_LOG_LEVEL=debug")
	f.Add(oneCamera, "FRAMEKEEPER_REDIS_URL=redis://:p@h")
	f.Add("[redis]\nulr=1\nurl=5\n[[camera]]\n[camera.controls]\nx=1.5\n[[camera]]\nname=\"a\"", "FRAMEKEEPER_X=")
	f.Add("camera=[{name=\"a\",source='test:',controls={a=1}},{}]\nredis.io_timeout=\"\"\"\n1s\"\"\"", "")
	f.Fuzz(func(t *testing.T, text, entry string) {
		c, err := Parse("config.toml", []byte(text), []string{entry})
		if err != nil {
			var list *config.Error
			if !errors.As(err, &list) || len(list.Problems) == 0 || c != nil {
				t.Fatalf("got %v and error %v", c, err)
			}
			lines := strings.Count(text, "\n") + 1
			for _, p := range list.Problems {
				if p.What == "" || p.Line < 0 || p.Line > lines+1 || (p.File != "config.toml" && p.File != "environment") {
					t.Fatalf("problem %+v in a file of %d lines", p, lines)
				}
			}
			return
		}
		if len(c.Cameras) == 0 || c.Path != "config.toml" {
			t.Fatalf("accepted %+v", c)
		}
		names := make([]string, 0, len(c.Cameras))
		for i := range c.Cameras {
			if slices.Contains(names, c.Cameras[i].Name) || c.Cameras[i].RequestTopic == "" {
				t.Fatalf("accepted cameras %+v", c.Cameras)
			}
			names = append(names, c.Cameras[i].Name)
		}
	})
}
