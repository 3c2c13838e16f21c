package cli_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"framekeeper/internal/agent"
	"framekeeper/internal/cli"
	"framekeeper/internal/client"
	"framekeeper/internal/controller"
	"framekeeper/internal/status"
)

func programs() []cli.Program {
	return []cli.Program{agent.Program(), controller.Program(), client.Program()}
}

// Every command has a help with examples that its own program accepts, --config,
// --version, and rejects an unknown flag or argument on one line.
func TestEveryCommand(t *testing.T) {
	for _, p := range programs() {
		var visit func(cmd *cobra.Command)
		visit = func(cmd *cobra.Command) {
			if cmd.Hidden || cmd.Name() == "help" || cmd.Name() == "completion" {
				return
			}
			path := strings.Fields(cmd.CommandPath())[1:]
			help := run(t, p, append(path, "--help")...)
			if help.err != nil || !strings.Contains(help.out, "Examples:\n  "+p.Name) || !strings.Contains(help.out, "--config FILE") {
				t.Errorf("%s --help: got %v and\n%s\nwant examples and --config", cmd.CommandPath(), help.err, help.out)
			}
			for _, example := range strings.Split(cmd.Example, "\n") {
				checkExample(t, p, example)
			}
			if wrong := run(t, p, append(path, "--nonsense")...); !cli.IsUsage(wrong.err) || strings.Contains(wrong.err.Error(), "\n") ||
				!strings.Contains(wrong.err.Error(), "see "+cmd.CommandPath()+" --help") {
				t.Errorf("%s --nonsense: got %v, want one line that names --help", cmd.CommandPath(), wrong.err)
			}
			if wrong := run(t, p, append(path, "one", "two")...); !cli.IsUsage(wrong.err) {
				t.Errorf("%s one two: got %v, want a usage error", cmd.CommandPath(), wrong.err)
			}
			for _, c := range cmd.Commands() {
				visit(c)
			}
		}
		visit(p.Command(&bytes.Buffer{}, &bytes.Buffer{}))
		if got := run(t, p, "--version"); got.err != nil || !strings.HasPrefix(got.out, p.Name+" ") {
			t.Errorf("%s --version: got %q, %v", p.Name, got.out, got.err)
		}
	}
}

// checkExample parses an example's flags and arguments without running it.
func checkExample(t *testing.T, p cli.Program, example string) {
	t.Helper()
	words := strings.Fields(strings.Split(example, " | ")[0])
	if len(words) == 0 || words[0] != p.Name {
		t.Errorf("%q: want an example that begins with %s", example, p.Name)
		return
	}
	cmd, args, err := p.Command(&bytes.Buffer{}, &bytes.Buffer{}).Find(words[1:])
	if err == nil {
		err = cmd.ParseFlags(args)
	}
	if err == nil && cmd.Args != nil {
		err = cmd.Args(cmd, cmd.Flags().Args())
	}
	if err != nil {
		t.Errorf("%q: %v", example, err)
	}
}

// The old spelling works in all its forms, with one hint; values that look like
// flags stay as they are.
func TestSingleDash(t *testing.T) {
	config := configFile(t)
	for _, c := range []struct {
		args []string
		out  string
		hint string
	}{
		{[]string{"-config", config, "-check"}, ": OK, ", "controller: write --config --check instead of -config -check, which the next release rejects\n"},
		{[]string{"-config=" + config, "--check=true"}, ": OK, ", "write --config instead of -config,"},
		{[]string{"--config", config, "-get", "state_dir"}, "state", "write --get instead of -get,"},
		{[]string{"-version"}, "controller ", "write --version instead of -version,"},
		{[]string{"-help"}, "Usage:", "write --help instead of -help,"},
		{[]string{"-h"}, "Usage:", ""},
		{[]string{"--config", config, "--check"}, ": OK, ", ""},
	} {
		got := run(t, controller.Program(), c.args...)
		if got.err != nil || !strings.Contains(got.out, c.out) {
			t.Errorf("%q: got %q, %v, want %q", c.args, got.out, got.err, c.out)
		}
		if !strings.Contains(got.stderr, c.hint) || c.hint == "" && got.stderr != "" || strings.Count(got.stderr, "\n") > 1 {
			t.Errorf("%q: got %q on standard error, want %q", c.args, got.stderr, c.hint)
		}
	}
	if got := run(t, controller.Program(), "--config", config, "--get", "-config"); !cli.IsUsage(got.err) || !strings.Contains(got.err.Error(), `"-config"`) || got.stderr != "" {
		t.Errorf("a value: got %v and %q", got.err, got.stderr)
	}
	if got := run(t, agent.Program(), "-config", config, "-camera", "cam1", "-check"); got.err != nil || !strings.Contains(got.stderr, "--config --camera --check") {
		t.Errorf("cam-agent: got %q, %v", got.stderr, got.err)
	}
}

func TestChecksAsJSON(t *testing.T) {
	config := configFile(t)
	for _, p := range []cli.Program{agent.Program(), controller.Program()} {
		var result struct {
			OK      bool  `json:"ok"`
			Cameras []any `json:"cameras"`
		}
		got := run(t, p, "--config", config, "--check", "--json")
		if err := json.Unmarshal([]byte(got.out), &result); err != nil || got.err != nil || !result.OK || len(result.Cameras) != 1 {
			t.Errorf("%s: got %q, %v, want one camera that is OK", p.Name, got.out, got.err)
		}
		if got := run(t, p, "--config", config, "--json"); !cli.IsUsage(got.err) || !strings.Contains(got.err.Error(), "--json goes with --check") {
			t.Errorf("%s --json alone: got %v", p.Name, got.err)
		}
	}
	if err := os.WriteFile(config, []byte("[controller]\nboxx = 1\nhttpp = 2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var result struct {
		OK     bool     `json:"ok"`
		Errors []string `json:"errors"`
	}
	got := run(t, controller.Program(), "--config", config, "--check", "--json")
	if err := json.Unmarshal([]byte(got.out), &result); err != nil || result.OK || len(result.Errors) < 2 || cli.ExitCode(got.err) != status.ExitUsage {
		t.Errorf("a wrong file: got %q, %v, want its problems and exit code 2", got.out, got.err)
	}
}

type result struct {
	out, stderr string
	err         error
}

func run(t *testing.T, p cli.Program, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	err := p.Run(t.Context(), args, &stdout, &stderr)
	return result{stdout.String(), stderr.String(), err}
}

func configFile(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "config.toml")
	text := "state_dir = \"" + dir + "/state\"\n[[camera]]\nname = \"cam1\"\nsource = \"test:\"\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "cam-agent"), []byte("#!/bin/sh\n"), 0o700); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	return file
}
