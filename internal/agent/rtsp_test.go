//go:build !noopencv

package agent

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"framekeeper/internal/status"
	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/redistest"
	"framekeeper/internal/testkit/rtsptest"
)

// A network camera freezes. Its kernel still answers, so nothing is refused or
// closed. With our timeouts the reads fail until the agent gives up; without
// them, as an operator's own options may have it, the read does not return and
// is abandoned. Either way the process must end by itself, with code 3.
func TestFrozenNetworkCameraEndsTheProcess(t *testing.T) {
	testkit.NeedRedis(t)
	if err := rtsptest.Available(); err != nil {
		t.Skip(err)
	}
	redis := redistest.Start(t)
	for name, c := range map[string]struct{ options, says string }{
		"read fails":           {"", "camera abandoned"},
		"read does not return": {"OPENCV_FFMPEG_CAPTURE_OPTIONS=rtsp_transport;tcp", "camera driver does not return"},
	} {
		t.Run(name, func(t *testing.T) {
			server := rtsptest.Start(t, rtsptest.H264(320, 240, 30), "admin", "hunter2")
			a := startProcess(t, redis, server.URL("admin", "hunter2"), c.options)
			testkit.Eventually(t, "the camera to be open", func() bool { return strings.Contains(a.log.String(), "Camera opened") })
			server.Freeze()
			a.endsWith(t, status.ExitCamera, c.says)
			if strings.Contains(a.log.String(), "hunter2") {
				t.Errorf("the log shows the password:\n%s", &a.log)
			}
		})
	}
}

// GStreamer has no timeouts at all: a pipeline that waits for packets nobody
// sends is detected as hung.
func TestSilentPipelineEndsTheProcess(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	if err := rtsptest.Available(); err != nil {
		t.Skip(err)
	}
	pipeline := "gst:udpsrc address=127.0.0.1 port=0 caps=application/x-rtp,media=video,encoding-name=JPEG,payload=26,clock-rate=90000 " +
		"! rtpjpegdepay ! jpegdec ! videoconvert ! appsink"
	startProcess(t, redistest.Start(t), pipeline, "").endsWith(t, status.ExitCamera, "camera driver does not return")
}

// agentProcess is the whole program as a process of its own.
type agentProcess struct {
	cmd *exec.Cmd
	log testkit.Log
}

// startProcess starts one for that source; options is one variable of its
// environment, or empty.
func startProcess(t *testing.T, redis *redistest.Server, source, options string) *agentProcess {
	t.Helper()
	config := writeConfig(t, redis.URL(), "", fmt.Sprintf("source = %q\nstall_timeout = \"1s\"\nmax_reopens = 2\n", source))
	a := &agentProcess{cmd: exec.Command(os.Args[0], "--config", config)}
	a.cmd.Env = append(os.Environ(), asAgent+"=1")
	if options != "" {
		a.cmd.Env = append(a.cmd.Env, options)
	}
	a.cmd.Stdout, a.cmd.Stderr = &a.log, &a.log
	if err := a.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.cmd.Process.Kill() }) // it has ended unless the test failed
	return a
}

// endsWith waits for the process to end by itself.
func (a *agentProcess) endsWith(t *testing.T, code int, says string) {
	t.Helper()
	began := time.Now()
	ended := make(chan struct{})
	go func() { defer close(ended); _ = a.cmd.Wait() }()
	select {
	case <-ended:
	case <-time.After(testkit.Patience):
		t.Fatalf("still running after %v:\n%s", testkit.Patience, &a.log)
	}
	got := a.cmd.ProcessState.ExitCode()
	t.Logf("ended after %v with code %d", time.Since(began).Round(time.Millisecond), got)
	if got != code || !strings.Contains(a.log.String(), says) {
		t.Errorf("exit code %d, want %d and %q in:\n%s", got, code, says, &a.log)
	}
}
