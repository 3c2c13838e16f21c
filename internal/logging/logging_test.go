package logging

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

func mustNew(t *testing.T, cfg Config, program string, stderr *bytes.Buffer) zerolog.Logger {
	t.Helper()
	logger, closer, err := New(cfg, program, stderr)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	t.Cleanup(func() {
		if err := closer.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return logger
}

func TestJSON(t *testing.T) {
	var out bytes.Buffer
	cfg := Default()
	cfg.Format = "json"
	logger := mustNew(t, cfg, "client", &out)
	before := time.Now().Add(-time.Millisecond)
	logger.Info().Int("n", 5).Msg("hello")
	logger.Debug().Msg("not at this level")
	var line struct {
		Level, Program, Message string
		Time                    time.Time
		N                       int
	}
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatalf("%q is not one JSON object: %v", out.Bytes(), err)
	}
	if line.Level != "info" || line.Program != "client" || line.Message != "hello" || line.N != 5 {
		t.Errorf("got %+v from %s", line, out.Bytes())
	}
	if line.Time.Before(before) || line.Time.After(time.Now()) {
		t.Errorf("time %s is not now", line.Time)
	}
}

func TestConsoleWithoutColour(t *testing.T) {
	var out bytes.Buffer
	logger := mustNew(t, Default(), "controller", &out)
	logger.Warn().Str("camera", "greencam1").Msg("camera stalled")
	want := regexp.MustCompile(`^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} WRN camera stalled camera=greencam1 program=controller\n$`)
	if !want.Match(out.Bytes()) {
		t.Errorf("got %q, want it to match %s", out.Bytes(), want)
	}
}

func TestLevels(t *testing.T) {
	levels := []string{"trace", "debug", "info", "warn", "error"}
	for i, level := range levels {
		var out bytes.Buffer
		cfg := Default()
		cfg.Level = level
		logger := mustNew(t, cfg, "p", &out)
		logger.Trace().Msg("x")
		logger.Debug().Msg("x")
		logger.Info().Msg("x")
		logger.Warn().Msg("x")
		logger.Error().Msg("x")
		if got, want := strings.Count(out.String(), "\n"), len(levels)-i; got != want {
			t.Errorf("level %s writes %d of 5 lines, want %d", level, got, want)
		}
	}
}

func TestLinesStayWholeFromManyGoroutines(t *testing.T) {
	var out bytes.Buffer // has no lock of its own
	cfg := Default()
	cfg.Format = "json"
	logger := mustNew(t, cfg, "p", &out)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				logger.Info().Msg("line")
			}
		})
	}
	wg.Wait()
	n := 0
	for lines := bufio.NewScanner(&out); lines.Scan(); n++ {
		if !json.Valid(lines.Bytes()) {
			t.Fatalf("broken line %q", lines.Bytes())
		}
	}
	if n != 400 {
		t.Errorf("got %d lines, want 400", n)
	}
}

// Two processes of one box have one configuration; they must not share a file,
// because a file that one renames goes on being written by the other.
func TestEachProgramHasItsFile(t *testing.T) {
	cfg := Default()
	cfg.File = filepath.Join(t.TempDir(), "logs", "box.log")
	var stderr bytes.Buffer
	for _, program := range []string{"cam-agent-a", "cam-agent-b"} {
		logger := mustNew(t, cfg, program, &stderr)
		logger.Info().Msg("from " + program)
		data, err := os.ReadFile(strings.TrimSuffix(cfg.File, ".log") + "-" + program + ".log")
		if err != nil || strings.Count(string(data), "\n") != 1 || !strings.Contains(string(data), "from "+program) {
			t.Errorf("the file of %s holds %q, %v; want its line", program, data, err)
		}
		if bytes.Contains(data, []byte("\x1b[")) {
			t.Errorf("colours in the file: %q", data)
		}
	}
	if stderr.Len() != 0 {
		t.Errorf("standard error got %q, want nothing", stderr.Bytes())
	}
}

func TestFileName(t *testing.T) {
	for _, tt := range [][3]string{
		{"box.log", "client", "box-client.log"},
		{"/var/log/fk/box", "client", "/var/log/fk/box-client"},
		{"a.b/box.log", "x y/../z", "a.b/box-x-y-..-z.log"},
		{"box.log", "", "box.log"},
	} {
		if got := FileName(tt[0], tt[1]); got != tt[2] {
			t.Errorf("FileName(%q, %q) = %q, want %q", tt[0], tt[1], got, tt[2])
		}
	}
}

func TestFileIsAppendedToAndRotated(t *testing.T) {
	dir := t.TempDir()
	cfg := Config{Level: "info", Format: "json", File: filepath.Join(dir, "box.log"), MaxSizeMB: 1, MaxBackups: 1}
	name := filepath.Join(dir, "box-p.log")
	if err := os.WriteFile(name, []byte("before\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	logger := mustNew(t, cfg, "p", nil)
	logger.Info().Msg("after")
	if data, err := os.ReadFile(name); err != nil || !bytes.HasPrefix(data, []byte("before\n{")) {
		t.Fatalf("the file holds %q, %v; want the line appended", data, err)
	}
	text := strings.Repeat("x", 300<<10)
	for range 4 {
		logger.Info().Msg(text)
	}
	files, err := filepath.Glob(filepath.Join(dir, "box-p*"))
	if err != nil || len(files) != 2 {
		t.Fatalf("files %v, %v; want the current one and one backup", files, err)
	}
	for _, f := range files {
		if info, err := os.Stat(f); err != nil || info.Size() > 1<<20 {
			t.Errorf("%s: %v, %v; want at most 1 MiB", f, info.Size(), err)
		}
	}
}

func TestUnwritableFile(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "is-p.dir"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{filepath.Join(plain, "box.log"), filepath.Join(dir, "is.dir"), "/proc/nowhere/box.log"} {
		cfg := Default()
		cfg.File = file
		_, closer, err := New(cfg, "p", os.Stderr)
		if err == nil || closer != nil {
			t.Errorf("%s: no error, want one", file)
			continue
		}
		for _, says := range []string{"open log file", filepath.Dir(file), "[log]"} {
			if !strings.Contains(err.Error(), says) {
				t.Errorf("%s: error %q does not say %q", file, err, says)
			}
		}
		if strings.Contains(err.Error(), "\n") {
			t.Errorf("error of more than one line: %q", err)
		}
		var out strings.Builder
		log, closer := Begin(cfg, "p", &out)
		log.Info().Msg("works all the same")
		if err := closer.Close(); err != nil {
			t.Error(err)
		}
		if text := out.String(); !strings.Contains(text, err.Error()) || !strings.Contains(text, "works all the same") {
			t.Errorf("%s: Begin logged %q, want the error and what followed", file, text)
		}
	}
}

func TestValidate(t *testing.T) {
	for key, change := range map[string]func(*Config){
		"":            func(*Config) {},
		"level":       func(c *Config) { c.Level = "loud" },
		"format":      func(c *Config) { c.Format = "xml" },
		"max_size_mb": func(c *Config) { c.MaxSizeMB = 0 },
		"max_backups": func(c *Config) { c.MaxBackups = 0 },
	} {
		cfg := Default()
		change(&cfg)
		var got string
		cfg.Validate(func(key, value, expected string) {
			got += key
			if expected == "" {
				t.Errorf("%s: nothing expected", key)
			}
		})
		if got != key {
			t.Errorf("%s: reported %q; config %s", key, got, fmt.Sprint(cfg))
		}
	}
}
