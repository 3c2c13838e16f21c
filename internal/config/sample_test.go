package config

import (
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"framekeeper/pkg/camera"
)

const samplePath = "../../config.toml"

func readSample(t *testing.T) []byte {
	t.Helper()
	data, err := os.ReadFile(samplePath)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// wantSample is what the packages say their defaults are.
func wantSample() *Config {
	want := defaults()
	want.Path = samplePath
	want.Controller.FillNames()
	cam := camera.Default()
	cam.Name, cam.Source = "greencam1", "test:"
	cam.FillNames()
	want.Cameras = []camera.Config{cam}
	return want
}

func TestSampleHoldsTheDefaults(t *testing.T) {
	got, err := Parse(samplePath, readSample(t), nil)
	if err != nil {
		t.Fatalf("config.toml is refused:\n%v", err)
	}
	if want := wantSample(); !reflect.DeepEqual(got, want) {
		t.Errorf("config.toml differs from the defaults:\n got %+v\nwant %+v", got, want)
	}
}

// uncommented turns the lines that show a computed default or an example into
// settings. Prose has ##.
func uncommented(data []byte) []byte {
	lines := strings.Split(string(data), "\n")
	for i, line := range lines {
		if rest, ok := strings.CutPrefix(line, "# "); ok {
			lines[i] = rest
		}
	}
	return []byte(strings.Join(lines, "\n"))
}

func TestSampleShowsComputedDefaultsAndExamples(t *testing.T) {
	got, err := Parse(samplePath, uncommented(readSample(t)), nil)
	if err != nil {
		t.Fatalf("config.toml with its # lines taken as settings is refused:\n%v", err)
	}
	want := wantSample()
	if got.Controller.LogTopic != got.Controller.Box+"_log" {
		t.Errorf("log_topic is shown as %q, want %q", got.Controller.LogTopic, got.Controller.Box+"_log")
	}
	want.Controller.Box, want.Controller.LogTopic = got.Controller.Box, got.Controller.LogTopic
	want.Cameras[0].SourceLatency = 0 // what the negative default comes to for test:
	if !reflect.DeepEqual(got.Cameras[0], want.Cameras[0]) {
		t.Errorf("greencam1 is shown as\n%+v, want\n%+v", got.Cameras[0], want.Cameras[0])
	}
	examples := got.Cameras[1:]
	got.Cameras, want.Cameras = nil, nil
	if !reflect.DeepEqual(got, want) {
		t.Errorf("shown values differ from the defaults:\n got %+v\nwant %+v", got, want)
	}
	schemes := make(map[camera.Scheme]bool)
	for _, cam := range examples {
		name, err := camera.ParseSource(cam.Source)
		if err != nil {
			t.Error(err)
		}
		schemes[name.Scheme] = true
	}
	for _, scheme := range []camera.Scheme{camera.SchemeV4L2, camera.SchemeRTSP, camera.SchemeExec, camera.SchemeFile} {
		if !schemes[scheme] {
			t.Errorf("no example of a %s camera", scheme)
		}
	}
	if examples[0].Controls["exposure"] != 250 || examples[1].SourceLatency != 200*time.Millisecond {
		t.Errorf("examples read as %+v", examples)
	}
}

func TestSampleNamesEveryKey(t *testing.T) {
	lines := findLines(string(uncommented(readSample(t))))
	check := func(path string, section any) {
		for key := range fieldsOf(reflect.ValueOf(section).Elem()) {
			if lines[join(path, key)] == 0 {
				t.Errorf("config.toml does not name %s", join(path, key))
			}
		}
	}
	cfg := wantSample()
	check("", cfg)
	check("redis", &cfg.Redis)
	check("delivery", &cfg.Delivery)
	check("log", &cfg.Log)
	check("controller", &cfg.Controller)
	check("client", &cfg.Client)
	check("camera[0]", &cfg.Cameras[0])
}

// A key without a word about it is not documented.
func TestSampleExplainsEachGroup(t *testing.T) {
	explained := false
	for i, line := range strings.Split(string(readSample(t)), "\n") {
		switch {
		case strings.HasPrefix(line, "##"):
			explained = true
		case line == "":
			explained = false
		case strings.HasPrefix(line, "["), strings.HasPrefix(line, "# "):
		case !explained:
			t.Errorf("config.toml:%d: %q comes before any explanation in its section", i+1, line)
		}
	}
}
