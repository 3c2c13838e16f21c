package mjpeg

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"framekeeper/internal/testkit"
	"framekeeper/pkg/camera"
)

const victimSource = "FRAMEKEEPER_TEST_VICTIM"

// TestVictim is the process TestExecEndsWithItsReader kills; it reads frames
// for ever.
func TestVictim(t *testing.T) {
	source := os.Getenv(victimSource)
	if source == "" {
		return
	}
	src, err := Open(t.Context(), config(source))
	for err == nil {
		err = src.Next(t.Context(), new(camera.Frame))
	}
	t.Fatal(err)
}

// TestExecEndsWithItsReader: not even kill -9 of the agent leaves a command
// behind that holds the camera.
func TestExecEndsWithItsReader(t *testing.T) {
	pidFile := t.TempDir() + "/child"
	cmd := exec.Command(os.Args[0], "-test.run=^TestVictim$") //nolint:noctx // killed below
	cmd.Env = append(os.Environ(), victimSource+"=exec:sh -c 'echo $$ >"+pidFile+"; cat "+file(t, picture(t, 1, 16, 16))+"; exec sleep 100'")
	var said strings.Builder
	cmd.Stdout = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	child := pidIn(t, pidFile)
	if !alive(child) {
		t.Errorf("the command is not alive: %s", said.String())
	}
	kill(cmd)
	testkit.Eventually(t, "the command is gone", func() bool { return !alive(child) })
}
