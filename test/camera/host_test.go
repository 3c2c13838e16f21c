package camera

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"framekeeper/internal/testkit/proctest"
	"framekeeper/internal/testkit/vmtest"
)

const (
	vmDevice   = "/dev/video0"
	vmLoopback = "/dev/video9"
	vmLimit    = 5 * time.Minute
)

// outside builds the programs, runs them in one machine, and repeats here what
// the tests there said.
func outside(t *testing.T) {
	dir := t.TempDir()
	agent, units := filepath.Join(dir, "cam-agent"), filepath.Join(dir, "v4l2.test")
	if err := proctest.Build(t.Context(), agent, "framekeeper/cmd/cam-agent"); err != nil {
		t.Fatal(err)
	}
	if err := proctest.BuildTest(t.Context(), units, "framekeeper/pkg/camera/v4l2", "device"); err != nil {
		t.Fatal(err)
	}
	rows, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	run := fmt.Sprintf("echo '%srows' && %q -test.v=test2json -test.run '^TestCamera$'", vmtest.Section, rows)
	args := []string{"--timeout", fmt.Sprint(int(vmLimit.Seconds()))}
	if testing.Short() {
		run += " -test.short"
	} else {
		args = append(args, "--loopback")
		run += fmt.Sprintf("; status=$?; cd ../../pkg/camera/v4l2 && echo '%sdevice' && %q -test.v=test2json && exit $status", vmtest.Section, units)
	}
	env := []string{envDevice + "=" + vmDevice, envLoopback + "=" + vmLoopback, envAgent + "=" + agent}
	vmtest.Boot(t, env, append(args, "--", "sh", "-c", run), nil).Repeat(t)
}
