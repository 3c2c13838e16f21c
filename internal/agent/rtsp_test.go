//go:build !noopencv

package agent

import (
	"strings"
	"testing"

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
