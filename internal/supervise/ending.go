package supervise

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"framekeeper/internal/status"
)

// ending is how a process ended, or why it could not be started.
type ending struct {
	startErr error
	state    *os.ProcessState
	lastLine string        // of its standard error
	crash    string        // its runtime's own word for a crash; "" if there was none
	silent   time.Duration // how long it said nothing, if it was killed for that
	says     string        // what it last said of itself
	frames   uint64        // new frames its camera gave
}

// verdict is what an ending means.
type verdict struct {
	reason    string
	needsHand bool // will end the same way until somebody changes something
	camera    bool // it may be the camera's or its driver's fault
}

func (e ending) verdict(path string) verdict {
	program := filepath.Base(path)
	switch {
	case e.startErr != nil:
		return verdict{reason: fmt.Sprintf("cannot start %s: %v", path, rootCause(e.startErr)), needsHand: true}
	case e.silent > 0:
		return verdict{reason: fmt.Sprintf("gave no sign of life for %v and was killed", e.silent) + after("; it had said: ", e.says), camera: true}
	case e.crash != "":
		return verdict{reason: fmt.Sprintf("crashed (exit code %d): %s", e.exitCode(), e.crash), camera: true}
	}
	switch code := e.state.ExitCode(); code {
	case status.ExitUsage:
		return verdict{reason: "refuses its configuration or command line (exit code 2)" + after(": ", strings.TrimPrefix(e.lastLine, "cam-agent: ")), needsHand: true}
	case status.ExitCamera:
		return verdict{reason: cameraReason(e.lastLine), camera: true}
	case status.ExitClaimed:
		// Often one that a killed controller left and that is just ending.
		_, which, _ := strings.Cut(e.lastLine, "another cam-agent serves this camera: ")
		return verdict{reason: "another cam-agent serves the camera (exit code 4)" + after(": ", which)}
	case status.ExitNoLoader:
		if lib, ok := missingLibrary(e.lastLine); ok {
			return verdict{reason: fmt.Sprintf("%s needs %s, which is not installed: install OpenCV (sudo apt-get install libopencv-dev libturbojpeg0-dev), "+
				"or build %s without it (scripts/build.sh --noopencv)", program, lib, program), needsHand: true}
		}
		return verdict{reason: "exit code 127: " + e.lastLine}
	case -1:
		return verdict{reason: e.state.String(), camera: true} // "signal: killed"
	default:
		return verdict{reason: fmt.Sprintf("exit code %d", code)}
	}
}

// cameraReason puts the exit code into what the agent said last: "camera given
// up after 5 attempts to reopen it (exit code 3): …". Its own words already say
// what the code means.
func cameraReason(lastLine string) string {
	words, own := strings.CutPrefix(lastLine, "cam-agent: ")
	if !own {
		return "the camera gave up (exit code 3)" + after(": ", lastLine)
	}
	what, why, _ := strings.Cut(words, ": ")
	return what + " (exit code 3)" + after(": ", why)
}

// exitCode is the process's own, or as a shell counts it, 128 and the signal
// that ended it.
func (e ending) exitCode() int {
	switch {
	case e.state == nil: // could not be started
		return status.ExitNoLoader
	case e.silent > 0: // whatever Go's runtime made of SIGQUIT
		return 128 + int(syscall.SIGKILL)
	}
	if wait, ok := e.state.Sys().(syscall.WaitStatus); ok && wait.Signaled() {
		return 128 + int(wait.Signal())
	}
	return e.state.ExitCode()
}

func after(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
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
