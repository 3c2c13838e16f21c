package supervise

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Exit codes cam-agent gives a meaning to.
const (
	exitUsage    = 2   // bad configuration or command line
	exitCamera   = 3   // the camera failed so often that a fresh process is wanted
	exitOwned    = 4   // another cam-agent serves the camera
	exitNoLoader = 127 // the dynamic loader's, when a library is missing
)

// ending is how a process ended, or why it could not be started.
type ending struct {
	startErr error
	state    *os.ProcessState
	lastLine string // of its standard error
}

// verdict is what an ending means.
type verdict struct {
	reason    string
	needsHand bool // will end the same way until somebody changes something
}

func (e ending) verdict(path string) verdict {
	program := filepath.Base(path)
	if e.startErr != nil {
		return verdict{reason: fmt.Sprintf("cannot start %s: %v", path, rootCause(e.startErr)), needsHand: true}
	}
	switch code := e.state.ExitCode(); code {
	case exitUsage:
		return verdict{"refuses its configuration or command line (exit code 2), see its own message", true}
	case exitCamera:
		return verdict{"the camera gave up (exit code 3)", false}
	case exitOwned:
		// Often one that a killed controller left and that is just ending.
		return verdict{"another cam-agent serves the camera (exit code 4)", false}
	case exitNoLoader:
		if lib, ok := missingLibrary(e.lastLine); ok {
			return verdict{fmt.Sprintf("%s needs %s, which is not installed: install OpenCV (sudo apt-get install libopencv-dev libturbojpeg0-dev), "+
				"or build %s without it (scripts/build.sh --noopencv)", program, lib, program), true}
		}
		return verdict{"exit code 127: " + e.lastLine, false}
	case -1:
		return verdict{e.state.String(), false} // "signal: killed"
	default:
		return verdict{fmt.Sprintf("exit code %d", code), false}
	}
}

// rootCause drops the parts of a start error that repeat the path.
func rootCause(err error) error {
	var inPath *fs.PathError
	if errors.As(err, &inPath) {
		return inPath.Err
	}
	var inExec *exec.Error
	if errors.As(err, &inExec) {
		return inExec.Err
	}
	return err
}

// missingLibrary reads the library's name out of the dynamic loader's line:
// "PROGRAM: error while loading shared libraries: LIB: cannot open …".
func missingLibrary(line string) (string, bool) {
	_, rest, found := strings.Cut(line, "error while loading shared libraries: ")
	if !found {
		return "", false
	}
	lib, _, _ := strings.Cut(rest, ":")
	return lib, true
}

// FindAgent finds the cam-agent program: beside the running executable, or in
// PATH.
func FindAgent() (string, error) {
	const name = "cam-agent"
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find own executable: %w", err)
	}
	beside := filepath.Join(filepath.Dir(self), name)
	if info, err := os.Stat(beside); err == nil && info.Mode().IsRegular() {
		return beside, nil
	}
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	return "", fmt.Errorf("no %s at %s nor in PATH: build it with scripts/build.sh, or put it beside the controller", name, beside)
}
