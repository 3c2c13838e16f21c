package proctest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// Build makes the program of a package of this module, as a box without OpenCV
// gets it.
func Build(ctx context.Context, out, pkg string) error {
	return goTool(ctx, "build", "-tags", "noopencv", "-o", out, pkg)
}

// BuildTest makes the program that runs a package's tests, with those behind the
// tags.
func BuildTest(ctx context.Context, out, pkg string, tags ...string) error {
	return goTool(ctx, "test", "-c", "-tags", strings.Join(append(tags, "noopencv"), ","), "-o", out, pkg)
}

func goTool(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, strings.TrimSpace(string(text)))
	}
	return nil
}
