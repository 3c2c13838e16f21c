// Command mutations proves the worth of the simulation of pkg/outbox: it puts known
// defects into the frame log and its consumer, one at a time, and measures how long
// the simulation takes to find each, or that an ordinary test does. It changes no file:
// the compiler gets the changed ones as an overlay.
//
//	go run ./test/mutations [-time 60s] [-only TEXT] [-list]
//
// It fails if a defect is not found, or cannot be put in because the code has changed.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	limit := flag.Duration("time", time.Minute, "how long the simulation may take to find a defect")
	only := flag.String("only", "", "only those whose name contains this")
	list := flag.Bool("list", false, "print the names, and run nothing")
	flag.Parse()
	if err := run(context.Background(), *limit, *only, *list); err != nil {
		fmt.Fprintln(os.Stderr, "mutations:", err)
		os.Exit(1)
	}
}

var errMissed = errors.New("not every defect was found")

func run(ctx context.Context, limit time.Duration, only string, list bool) error {
	missed := false
	for _, m := range append([]mutation{{name: "none (nothing must be found)"}}, mutations()...) {
		if !strings.Contains(m.name, only) {
			continue
		}
		if list {
			fmt.Println(m.name)
			continue
		}
		found, what, err := try(ctx, m, limit)
		switch {
		case err != nil:
			fmt.Printf("%-60s  ERROR     %v\n", m.name, err)
			missed = true
		case len(m.changes) == 0 && found == 0:
			fmt.Printf("%-60s  -\n", m.name)
		case len(m.changes) == 0:
			fmt.Printf("%-60s  WRONG     %s\n", m.name, what)
			missed = true
		case found == 0:
			fmt.Printf("%-60s  MISSED    in %v\n", m.name, limit)
			missed = true
		default:
			fmt.Printf("%-60s  %6.1f s  %s\n", m.name, found.Seconds(), what)
		}
	}
	if missed {
		return errMissed
	}
	return nil
}

// mutation is a defect: in a file the old text becomes the new one.
type mutation struct {
	name    string
	changes []change
	test    string // that finds it, where the simulation may take long; "": the simulation
}

type change struct{ file, before, after string }

// try compiles the tests with the defect and runs the simulation. found is 0 if it
// passes.
func try(ctx context.Context, m mutation, limit time.Duration) (found time.Duration, what string, err error) {
	dir, err := os.MkdirTemp("", "mutation")
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	overlay, err := m.overlay(dir)
	if err != nil {
		return 0, "", err
	}
	program := filepath.Join(dir, "outbox.test")
	build := exec.CommandContext(ctx, "go", "test", "-c", "-overlay", overlay, "-o", program, "./pkg/outbox") //nolint:gosec // our own arguments
	if out, err := build.CombinedOutput(); err != nil {
		return 0, "", fmt.Errorf("%w: %s", err, out)
	}
	began := time.Now()
	args := []string{"-test.run", "^TestSimulation$", "-sim", limit.String(), "-sim.from=1", "-sim.shrink=false"}
	if m.test != "" {
		args = []string{"-test.run", "^" + m.test + "$"}
	}
	test := exec.CommandContext(ctx, program, args...) //nolint:gosec // just built
	test.Dir = filepath.Join("pkg", "outbox")
	out, err := test.CombinedOutput()
	if err == nil {
		return 0, "", nil
	}
	if m.test != "" {
		return time.Since(began), m.test, nil
	}
	return time.Since(began), violationIn(string(out)), nil
}

// overlay writes the changed files and the list of them.
func (m mutation) overlay(dir string) (path string, err error) {
	texts := map[string]string{}
	for _, c := range m.changes {
		file, err := filepath.Abs(filepath.FromSlash(c.file))
		if err != nil {
			return "", err
		}
		if _, read := texts[file]; !read {
			text, err := os.ReadFile(file) //nolint:gosec // of this module
			if err != nil {
				return "", err
			}
			texts[file] = string(text)
		}
		if n := strings.Count(texts[file], c.before); n != 1 {
			return "", fmt.Errorf("%s has %q %d times, want once", c.file, c.before, n)
		}
		texts[file] = strings.Replace(texts[file], c.before, c.after, 1)
	}
	replace := map[string]string{}
	for file, text := range texts {
		changed := filepath.Join(dir, fmt.Sprint(len(replace), ".go"))
		if err := os.WriteFile(changed, []byte(text), 0o600); err != nil {
			return "", err
		}
		replace[file] = changed
	}
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	path = filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, b, 0o600)
}

// violationIn is what the simulation says that it has found.
func violationIn(out string) string {
	for line := range strings.SplitSeq(out, "\n") {
		if _, what, ok := strings.Cut(line, ": seed "); ok {
			return "seed " + what
		}
	}
	const enough = 200
	return strings.TrimSpace(out[:min(len(out), enough)])
}
