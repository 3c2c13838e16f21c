//go:build !noopencv

package opencv

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"gocv.io/x/gocv"

	"framekeeper/pkg/camera"
)

// setDefault sets an environment variable of OpenCV's unless the operator has.
// gocv 0.32 cannot pass parameters to a capture's opening, and OpenCV takes its
// timeouts from nowhere else.
func setDefault(key, value string) error {
	if _, set := os.LookupEnv(key); set {
		return nil
	}
	if err := os.Setenv(key, value); err != nil {
		return fmt.Errorf("set %s: %w", key, err)
	}
	return nil
}

// openDevice opens opencv:N or opencv:/dev/….
func (s *Source) openDevice(rest string, cfg camera.Config) error {
	path := rest
	if n, err := strconv.Atoi(rest); err == nil && n >= 0 {
		path = "/dev/video" + strconv.Itoa(n)
	} else if !strings.HasPrefix(rest, "/dev/") {
		return fmt.Errorf("%w: %s: expected opencv:N, the N of /dev/videoN", camera.ErrNoDevice, s.shown)
	}
	// OpenCV reports "can't open" for everything; the kernel's error is exact.
	device, err := os.OpenFile(path, os.O_RDWR, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: there is no %s", camera.ErrNoDevice, path)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: no permission for %s; add this user to the group video", camera.ErrNoDevice, path)
	case err != nil:
		return fmt.Errorf("%w: %w", camera.ErrNoDevice, err)
	}
	if err := device.Close(); err != nil {
		return fmt.Errorf("close %s: %w", path, err)
	}
	// Whole seconds only, and 10 by default: a read in a dead camera would
	// outlast the watchdog's limit.
	seconds := max(1, int(cfg.StallTimeout/time.Second))
	if err := setDefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", strconv.Itoa(seconds)); err != nil {
		return err
	}
	s.input = input{target: path, api: gocv.VideoCaptureV4L2}
	if err := s.openCapture(fmt.Errorf("%w, or %s is not a camera", camera.ErrBusy, path)); err != nil {
		return err
	}
	if err := s.configure(cfg); err != nil {
		_ = s.capture.Close()
		return err
	}
	return nil
}

// controls are the configured names OpenCV has a property for.
func controls() map[string]gocv.VideoCaptureProperties {
	return map[string]gocv.VideoCaptureProperties{
		"brightness": gocv.VideoCaptureBrightness, "contrast": gocv.VideoCaptureContrast,
		"saturation": gocv.VideoCaptureSaturation, "hue": gocv.VideoCaptureHue,
		"gain": gocv.VideoCaptureGain, "exposure": gocv.VideoCaptureExposure,
		"auto_exposure": gocv.VideoCaptureAutoExposure, "sharpness": gocv.VideoCaptureSharpness,
		"gamma": gocv.VideoCaptureGamma, "focus": gocv.VideoCaptureFocus, "zoom": gocv.VideoCaptureZoom,
	}
}

// configure asks a device for format, size, rate and controls. A driver grants
// what it can; Info is what that was.
func (s *Source) configure(cfg camera.Config) error {
	fourcc := "MJPG" // over USB 2 the only way to 30 fps from 1280x720 on
	if cfg.Format == camera.FormatYUYV {
		fourcc = "YUYV"
	}
	s.capture.Set(gocv.VideoCaptureFOURCC, s.capture.ToCodec(fourcc))
	s.capture.Set(gocv.VideoCaptureFrameWidth, float64(cfg.Width))
	s.capture.Set(gocv.VideoCaptureFrameHeight, float64(cfg.Height))
	s.capture.Set(gocv.VideoCaptureFPS, cfg.FPS)
	return s.setControls(cfg.Controls)
}

func (s *Source) setControls(values map[string]int64) error {
	settable := controls()
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if _, ok := settable[name]; !ok {
			return fmt.Errorf("%w: control %q; through OpenCV there are %s", camera.ErrUnsupported,
				name, strings.Join(slices.Sorted(maps.Keys(settable)), ", "))
		}
	}
	for name, value := range values {
		s.capture.Set(settable[name], float64(value))
	}
	return nil
}

// SetControls sets a device's controls between two frames. A driver takes what
// it can; OpenCV reports nothing.
func (s *Source) SetControls(values map[string]int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.capture == nil:
		return camera.ErrClosed
	case s.input.api != gocv.VideoCaptureV4L2:
		return fmt.Errorf("%w: %s has no controls", camera.ErrUnsupported, s.shown)
	}
	return s.setControls(values)
}

// openFile opens file:PATH, file:PATH?loop=0 or file:PATH?loop=1 (the default).
func (s *Source) openFile(rest string, _ camera.Config) error {
	path, loops, err := fileOptions(rest)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", camera.ErrNoDevice, s.shown, err)
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if !strings.Contains(s.shown, path) { // it may hold a password
			return fmt.Errorf("%w: there is no file %s; a URL is a source of its own, without \"file:\" before it", camera.ErrNoDevice, s.shown)
		}
		return fmt.Errorf("%w: there is no file %s", camera.ErrNoDevice, path)
	case err != nil:
		return fmt.Errorf("%w: stat %s: %w", camera.ErrNoDevice, s.shown, rootCause(err))
	case info.IsDir():
		return fmt.Errorf("%w: %s is a directory", camera.ErrNoDevice, path)
	}
	// Without "file:" FFmpeg would take a name such as "a:b.mp4" for a protocol.
	s.input = input{target: "file:" + path, api: gocv.VideoCaptureFFmpeg, loops: loops, finite: true}
	return s.openCapture(fmt.Errorf("%w: %s is not a video OpenCV can read", camera.ErrNoData, path))
}

// fileOptions takes ?loop=0 or ?loop=1 off the end, unless there is a file of
// just that name. Any other '?' belongs to the path.
func fileOptions(rest string) (path string, loops bool, err error) {
	if _, err := os.Stat(rest); err == nil {
		return rest, true, nil
	}
	const option = "?loop="
	i := strings.LastIndex(rest, option)
	if i < 0 {
		return rest, true, nil
	}
	switch rest[i+len(option):] {
	case "0":
		return rest[:i], false, nil
	case "1":
		return rest[:i], true, nil
	}
	return "", false, errors.New("loop is 0 (play it once) or 1 (start over at the end)")
}

// rootCause drops the path an error repeats.
func rootCause(err error) error {
	var inPath *fs.PathError
	if errors.As(err, &inPath) {
		return inPath.Err
	}
	return err
}

func (s *Source) openPipeline(pipeline string) error {
	if !strings.Contains(pipeline, "appsink") {
		return fmt.Errorf("%w: %s: the pipeline must end in \"! appsink\"", camera.ErrNoDevice, s.shown)
	}
	s.input = input{target: pipeline, api: gocv.VideoCaptureGstreamer}
	return s.openCapture(fmt.Errorf("%w: the pipeline does not start; try it with gst-launch-1.0", camera.ErrNoDevice))
}
