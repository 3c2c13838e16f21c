//go:build !noopencv

package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"framekeeper/internal/redistest"
	"framekeeper/internal/rtsptest"
)

// A network camera freezes. Its kernel still answers, so nothing is refused or
// closed. With our timeouts the reads fail until the agent gives up; without
// them, as an operator's own options may have it, the read does not return and
// is left behind. Either way the process must end by itself, with code 3.
func TestFrozenNetworkCameraEndsTheProcess(t *testing.T) {
	needRedis(t)
	if err := rtsptest.Available(); err != nil {
		t.Skip(err)
	}
	redis := redistest.Start(t)
	for name, c := range map[string]struct{ options, says string }{
		"read fails":           {"", "camera given up"},
		"read does not return": {"OPENCV_FFMPEG_CAPTURE_OPTIONS=rtsp_transport;tcp", "camera driver does not return"},
	} {
		t.Run(name, func(t *testing.T) {
			server := rtsptest.Start(t, rtsptest.H264(320, 240, 30), "admin", "hunter2")
			config := writeConfig(t, redis.URL(), "", "source = \""+server.URL("admin", "hunter2")+
				"\"\nwidth = 320\nheight = 240\nstall_timeout = \"1s\"\nmax_reopens = 2\n")
			cmd := exec.Command(os.Args[0], "--config", config)
			cmd.Env = append(os.Environ(), asAgent+"=1")
			if c.options != "" {
				cmd.Env = append(cmd.Env, c.options)
			}
			var log syncBuffer
			cmd.Stdout, cmd.Stderr = &log, &log
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = cmd.Process.Kill() }) // it has ended unless the test failed
			eventually(t, "the camera to be open:\n"+log.String(), func() bool { return strings.Contains(log.String(), "Camera opened") })
			server.Freeze()
			began := time.Now()
			ended := make(chan struct{})
			go func() { defer close(ended); _ = cmd.Wait() }()
			select {
			case <-ended:
			case <-time.After(patient):
				t.Fatalf("still running %v after the camera froze:\n%s", patient, &log)
			}
			t.Logf("ended %v after the camera froze, with code %d", time.Since(began).Round(time.Millisecond), cmd.ProcessState.ExitCode())
			if code := cmd.ProcessState.ExitCode(); code != exitCamera || !strings.Contains(log.String(), c.says) {
				t.Errorf("exit code %d, want %d and %q in:\n%s", code, exitCamera, c.says, &log)
			}
			if strings.Contains(log.String(), "hunter2") {
				t.Errorf("the log shows the password:\n%s", &log)
			}
		})
	}
}
