//go:build !noopencv

package opencv

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"runtime"
	"strings"
	"syscall"
	"time"

	"gocv.io/x/gocv"

	"framekeeper/pkg/camera"
)

func (s *Source) openRTSP(ctx context.Context, rawURL string, cfg camera.Config) error {
	// By TCP, as OpenCV does by default: UDP tears images. A call that waits for
	// a silent camera ends after this instead of OpenCV's 30 s. FFmpeg may wait
	// twice in one read, which must end before the Grabber takes it for stuck, two
	// stall timeouts after the last frame.
	s.readTimeout = max(cfg.StallTimeout, 2*cfg.Interval()) * 3 / 4
	options := fmt.Sprintf("rtsp_transport;tcp|timeout;%d", s.readTimeout.Microseconds())
	if err := setDefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", options); err != nil {
		return err
	}
	// Its own lines, one or more for each attempt and each damaged image, would
	// fill the log, and nobody vouches for what of the URL they show.
	if err := setDefault("OPENCV_FFMPEG_LOGLEVEL", "-8"); err != nil {
		return err
	}
	s.input = input{target: rawURL, api: gocv.VideoCaptureFFmpeg}
	refused := fmt.Errorf("%w: %s does not answer, or refuses user or path", camera.ErrNoDevice, s.shown)
	if err := s.openCapture(refused); err != nil {
		return fmt.Errorf("%w: %s: %s", camera.ErrNoDevice, s.shown, refusal(ctx, rawURL, s.readTimeout))
	}
	return nil
}

// heldBack is how many frames FFmpeg's decoder keeps before it hands out the
// first: one for each of its threads, of which OpenCV asks for as many as there
// are processors. JPEGs are decoded one by one.
func heldBack(c *gocv.VideoCapture) int {
	switch strings.ToLower(c.CodecString()) {
	case "mjpg", "mjpe":
		return 0
	}
	return runtime.NumCPU()
}

// refusal finds out what OpenCV does not report: why a camera was not opened. It
// asks the camera once, without showing it or anybody the password.
func refusal(ctx context.Context, rawURL string, timeout time.Duration) string {
	u, err := url.Parse(rawURL)
	if err != nil || u.Hostname() == "" {
		return "expected rtsp://user:password@host:port/path, with %40 for an @ and %2F for a / in the password"
	}
	withUser := u.User != nil
	u.User = nil
	if strings.EqualFold(u.Scheme, "rtsps") {
		return "it does not answer, or refuses user or path"
	}
	status, err := describe(ctx, u, timeout)
	var netErr net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens there"
	case errors.As(err, &netErr) && netErr.Timeout():
		return fmt.Sprintf("it does not answer within %v", timeout)
	case err != nil:
		return "it cannot be reached: " + networkCause(err)
	case status == 401 || status == 403:
		if !withUser {
			return "it wants a user and a password: rtsp://user:password@host/path"
		}
		return "it refuses the user or the password"
	case status == 404:
		return "it has nothing under that path"
	}
	return fmt.Sprintf("it answers (RTSP status %d), but gives no video OpenCV can read", status)
}

// describe asks for the stream's description and returns the answer's status.
func describe(ctx context.Context, u *url.URL, timeout time.Duration) (status int, err error) {
	port := u.Port()
	if port == "" {
		port = "554"
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return 0, err
	}
	if _, err := fmt.Fprintf(conn, "DESCRIBE %s RTSP/1.0\r\nCSeq: 1\r\nAccept: application/sdp\r\n\r\n", u); err != nil {
		return 0, err
	}
	line, err := bufio.NewReader(io.LimitReader(conn, 1024)).ReadString('\n')
	if err != nil && line == "" {
		return 0, err
	}
	if _, err := fmt.Sscanf(line, "RTSP/1.0 %d", &status); err != nil {
		return 0, errors.New("it does not speak RTSP")
	}
	return status, nil
}

// networkCause drops addresses and ports, which the source's name shows already.
func networkCause(err error) string {
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return dns.Err
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err.Error()
	}
	return err.Error()
}
