package v4l2

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"framekeeper/pkg/camera"
)

func TestOpenErrorsHaveTheirKind(t *testing.T) {
	for _, c := range []struct {
		cause error
		kind  error
		says  string
	}{
		{unix.ENOENT, camera.ErrNoDevice, "there is no /dev/video0"},
		{unix.EACCES, camera.ErrNoDevice, "group video"},
		{unix.EBUSY, camera.ErrBusy, "fuser -v /dev/video0"},
		{unix.ENODEV, camera.ErrNoDevice, "no such device"},
	} {
		if err := openError("/dev/video0", c.cause); !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v: got %v, want %v saying %q", c.cause, err, c.kind, c.says)
		}
	}
}

func TestStreamErrorsHaveTheirKind(t *testing.T) {
	q := &queue{dev: &device{path: "/dev/video0"}}
	for _, c := range []struct {
		cause error
		kind  error
		says  string
	}{
		{unix.ENODEV, camera.ErrNoData, "unplugged"},
		{unix.EIO, camera.ErrNoData, "fatal error"},
		{unix.EBUSY, camera.ErrBusy, "another program"},
		{unix.EINVAL, camera.ErrNoData, "fetch /dev/video0: invalid argument"},
	} {
		if err := q.streamError("fetch", c.cause); !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v: got %v, want %v saying %q", c.cause, err, c.kind, c.says)
		}
	}
}

func TestOnlyCamerasAreOpened(t *testing.T) {
	for _, c := range []struct {
		caps uint32
		says string // "": it is one
	}{
		{capCapture | capStreaming, ""},
		{capCapture | capStreaming | capMetaCapture, ""},
		{capCapture, "only supports reading"},
		{capMetaCapture | capStreaming, "gives metadata"},
		{capOutput | capStreaming, "is an output"},
		{capM2M | capStreaming, "is a converter"},
		{capCaptureMPlane | capStreaming, "several planes"},
		{capCapture | capStreaming | capMediaControl, "media controller"},
		{0, "captures no images"},
	} {
		err := (&device{path: "/dev/video0", caps: c.caps}).checkCapture()
		if c.says == "" && err == nil {
			continue
		}
		if !errors.Is(err, camera.ErrNoDevice) || c.says == "" || !strings.Contains(fmt.Sprint(err), c.says) {
			t.Errorf("%#x: got %v, want it to say %q", c.caps, err, c.says)
		}
	}
}

func TestWhatIsNoDeviceIsNotOpened(t *testing.T) {
	for _, path := range []string{"/dev/null", "/proc/self/exe", "/dev", "/nonexistent"} {
		if d, err := openNode(path); !errors.Is(err, camera.ErrNoDevice) {
			t.Errorf("%s: got %v, %v", path, d, err)
		}
	}
}

func TestWake(t *testing.T) {
	w, err := newEventFD()
	if err != nil {
		t.Fatal(err)
	}
	raised := func() bool {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(w.fd), Events: unix.POLLIN}}, 0)
		return err == nil && n == 1
	}
	w.signal()
	w.signal()
	if !raised() {
		t.Error("not raised")
	}
	w.reset()
	if raised() {
		t.Error("not lowered")
	}
	w.end()
	w.reset()
	if !raised() || !w.ended() {
		t.Error("lowered after its end")
	}
	for range 2 {
		if err := w.close(); err != nil {
			t.Error(err)
		}
	}
	w.signal() // must not write to whatever has the number now
	w.reset()
}
