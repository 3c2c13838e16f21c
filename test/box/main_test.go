package box

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// binVariable says where TestMain has put the programs, sceneVariable what a test
// is to do in a machine of its own.
const (
	binVariable   = "BOX_TEST_BIN"
	sceneVariable = "BOX_TEST_SCENE"
	fullVariable  = "BOX_TEST_FULL" // "yes": all power cuts there are; test.sh --full
)

func TestMain(m *testing.M) {
	if os.Getenv(sceneVariable) != "" {
		os.Exit(m.Run()) // the outer half has built them
	}
	os.Exit(run(m))
}

// run builds the programs as a box without OpenCV gets them, once for all tests.
func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "box-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }() // nothing depends on it
	cmd := exec.Command("go", "build", "-tags", "noopencv", "-o", dir+string(filepath.Separator), "framekeeper/cmd/...")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
	}
	if err := os.Setenv(binVariable, dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}
