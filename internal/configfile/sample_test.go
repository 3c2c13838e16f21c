package configfile

import (
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/BurntSushi/toml"

	"framekeeper/pkg/camera"
)

const (
	shortPath  = "../../config.toml"
	samplePath = "../../config.full.toml"
)

func readSample(t *testing.T) []byte {
	t.Helper()
	data, err := os.ReadFile(samplePath)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// wantSample is what the packages give as their defaults.
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

func TestShortFile(t *testing.T) {
	data, err := os.ReadFile(shortPath)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Parse(samplePath, data, nil)
	if err != nil {
		t.Fatalf("config.toml is refused:\n%v", err)
	}
	if want := wantSample(); !reflect.DeepEqual(got, want) {
		t.Errorf("config.toml differs from the defaults:\n got %+v\nwant %+v", got, want)
	}
	settings := 0
	for line := range strings.Lines(string(data)) {
		if line != "\n" && !strings.HasPrefix(line, "#") {
			settings++
		}
	}
	if settings > 15 {
		t.Errorf("config.toml has %d lines of settings, want only what a newcomer needs", settings)
	}
}

// uncommented turns the lines that show defaults and examples into settings.
// Prose has ##.
func uncommented(data []byte) []byte {
	lines := strings.Split(string(data), "\n")
	for i, line := range lines {
		if rest, ok := strings.CutPrefix(line, "# "); ok {
			lines[i] = rest
		}
	}
	return []byte(strings.Join(lines, "\n"))
}

func TestFullFileShowsTheDefaults(t *testing.T) {
	for name, text := range map[string][]byte{"as it is": readSample(t), "uncommented": uncommented(readSample(t))} {
		got, err := Parse(samplePath, text, nil)
		if err != nil {
			t.Fatalf("config.full.toml %s is refused:\n%v", name, err)
		}
		want := wantSample()
		if got.Controller.Telemetry.LogTopic != got.Controller.Box+"_log" {
			t.Errorf("%s: log_topic is %q, want %q", name, got.Controller.Telemetry.LogTopic, got.Controller.Box+"_log")
		}
		want.Controller.Box, want.Controller.Telemetry.LogTopic = got.Controller.Box, got.Controller.Telemetry.LogTopic
		if name == "uncommented" {
			want.Cameras[0].SourceLatency = 0 // what the negative default comes to for test:
			testExamples(t, got.Cameras[1:])
			got.Cameras = got.Cameras[:1]
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: values differ from the defaults:\n got %+v\nwant %+v", name, got, want)
		}
	}
}

func testExamples(t *testing.T, examples []camera.Config) {
	t.Helper()
	schemes := make(map[camera.Scheme]bool)
	for _, cam := range examples {
		name, err := camera.ParseSource(cam.Source)
		if err != nil {
			t.Error(err)
		}
		schemes[name.Scheme] = true
	}
	for _, scheme := range []camera.Scheme{camera.SchemeV4L2, camera.SchemeRTSP, camera.SchemeExec, camera.SchemeHTTP, camera.SchemeFile} {
		if !schemes[scheme] {
			t.Errorf("no example of a %s camera", scheme)
		}
	}
	if examples[0].Controls["exposure"] != 250 || examples[1].SourceLatency != 200*time.Millisecond {
		t.Errorf("examples read as %+v", examples)
	}
}

func TestFullFileNamesEveryKey(t *testing.T) {
	var raw map[string]any
	if err := toml.Unmarshal(uncommented(readSample(t)), &raw); err != nil {
		t.Fatal(err)
	}
	for _, path := range keys("", reflect.TypeFor[Config]()) {
		table, key, nested := strings.Cut(path, ".")
		where := raw
		if !nested {
			key = table
		} else if list, ok := raw[table].([]map[string]any); ok {
			where = list[0]
		} else {
			where, _ = raw[table].(map[string]any)
		}
		if _, ok := where[key]; !ok {
			t.Errorf("config.full.toml does not name %s", path)
		}
	}
}

// A key without a word about it is not documented.
func TestFullFileExplainsEachGroup(t *testing.T) {
	explained := false
	for i, line := range strings.Split(string(readSample(t)), "\n") {
		switch {
		case strings.HasPrefix(line, "##"):
			explained = true
		case line == "":
			explained = false
		case strings.HasPrefix(line, "["), strings.HasPrefix(line, "# ["):
		case !explained:
			t.Errorf("config.full.toml:%d: %q comes before any explanation in its section", i+1, line)
		}
	}
}

// keys are the paths of all keys: "state_dir", "redis.url", "camera.fps".
func keys(table string, section reflect.Type) []string {
	var paths []string
	for i := range section.NumField() {
		field := section.Field(i)
		tag := field.Tag.Get("toml")
		inner := field.Type
		if inner.Kind() == reflect.Slice {
			inner = inner.Elem()
		}
		switch {
		case inner.Kind() == reflect.Struct && tag == "":
			paths = append(paths, keys(table, inner)...)
		case inner.Kind() == reflect.Struct:
			paths = append(paths, keys(tag+".", inner)...)
		case tag != "":
			paths = append(paths, table+tag)
		}
	}
	return paths
}
