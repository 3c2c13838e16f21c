//go:build !noopencv

package opencv

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"syscall"

	"gocv.io/x/gocv"

	"framekeeper/pkg/camera"
	"framekeeper/pkg/camera/rtsp"
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
	// FFmpeg would send the password wherever a redirect leads, and take a description
	// of any size: it gets neither.
	relay, err := rtsp.Open(ctx, rawURL, s.readTimeout)
	if err != nil {
		return fmt.Errorf("%w: %s: %s", kindOf(err, 0), s.shown, s.unreachable(err))
	}
	s.relay = relay
	s.input = input{target: relay.URL(), api: gocv.VideoCaptureFFmpeg}
	if err := s.openCapture(camera.ErrNoDevice); err != nil {
		p := relay.Problem()
		_ = relay.Close() // it never fails
		if errors.Is(err, errTooLarge) {
			return err
		}
		return fmt.Errorf("%w: %s: %s", kindOf(p.Err, p.Status), s.shown, s.refusal(p, strings.Contains(rawURL, "@")))
	}
	return nil
}

// kindOf separates what only a person can mend from what may pass.
func kindOf(err error, status int) error {
	if rtsp.IsCertificate(err) || status == 401 || status == 403 {
		return camera.ErrRefused
	}
	return camera.ErrNoDevice
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

// refusal is what OpenCV does not report: why a camera was not opened.
func (s *Source) refusal(p rtsp.Problem, withUser bool) string {
	switch {
	case p.Status == 401 || p.Status == 403:
		switch {
		case p.Redirected:
			return "it redirects to another camera, which wants a user and a password: name that one in source"
		case !withUser:
			return "it wants a user and a password: rtsp://user:password@host/path"
		}
		return "it refuses the user or the password"
	case p.Status == 404:
		return "it has nothing under that path"
	case p.Err != nil && !rtsp.IsEnd(p.Err):
		return s.unreachable(p.Err)
	case p.Status == 0 && p.Err != nil:
		return "it ends the connection without an answer"
	case p.Status == 0:
		return fmt.Sprintf("it does not answer within %v", s.readTimeout)
	}
	return fmt.Sprintf("it answers (RTSP status %d), but gives no video OpenCV can read", p.Status)
}

// unreachable is an error of the connection to a camera, in words.
func (s *Source) unreachable(err error) string {
	var netErr net.Error
	switch {
	case errors.Is(err, rtsp.ErrURL), errors.Is(err, rtsp.ErrCamera):
		return err.Error()
	case rtsp.IsCertificate(err):
		return "its certificate is not trusted: " + networkCause(err) + "; add it to the system's"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens there"
	case errors.As(err, &netErr) && netErr.Timeout():
		return fmt.Sprintf("it does not answer within %v", s.readTimeout)
	}
	return "it cannot be reached: " + networkCause(err)
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
