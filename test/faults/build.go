package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// binaries are the programs under test.
type binaries struct{ dir, agent, stock string }

// build makes them from this module's source, the agent as a box without
// OpenCV gets it.
func build(ctx context.Context, dir string) (binaries, error) {
	b := binaries{dir: dir, agent: filepath.Join(dir, "cam-agent"), stock: filepath.Join(dir, "stock")}
	for out, pkg := range map[string]string{b.agent: "framekeeper/cmd/cam-agent", b.stock: "framekeeper/test/faults/stock"} {
		cmd := exec.CommandContext(ctx, "go", "build", "-tags", "noopencv", "-o", out, pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if text, err := cmd.CombinedOutput(); err != nil {
			return b, fmt.Errorf("build %s: %w\n%s", pkg, err, strings.TrimSpace(string(text)))
		}
	}
	return b, nil
}
