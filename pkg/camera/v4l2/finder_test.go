package v4l2

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"framekeeper/pkg/camera"
)

// plugged makes the kernel's directories as they are with three cameras: two of
// one make on USB, each with a metadata node, and one on the board.
func plugged(t *testing.T) finder {
	t.Helper()
	root := t.TempDir()
	write := func(path, content string) {
		t.Helper()
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	link := func(target, path string) {
		t.Helper()
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join(root, target), path); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range []struct{ node, name, device string }{
		{"video0", "Webcam: Webcam\x1b[1m", "1-1/1-1:1.0"}, {"video1", "Webcam: Webcam\x1b[1m", "1-1/1-1:1.0"},
		{"video2", "Webcam: Webcam\x1b[1m", "1-2/1-2:1.0"}, {"video10", "board", "platform/soc"},
	} {
		write("dev/"+n.node, "")
		write("sys/"+n.node+"/name", n.name+"\n")
		write("devices/"+n.device+"/uevent", "")
		link("devices/"+n.device, "sys/"+n.node+"/device")
	}
	write("dev/video-dec0", "")
	for _, port := range []string{"1-1", "1-2"} {
		write("devices/"+port+"/idVendor", "046d")
		write("devices/"+port+"/serial", "SN-"+port+"\n")
	}
	link("dev/video0", "dev/v4l/by-id/usb-Webcam_SN-1-1-video-index0")
	link("dev/video0", "dev/v4l/by-path/pci-usb-0:1:1.0-video-index0")
	f := finder{dev: filepath.Join(root, "dev"), sysfs: filepath.Join(root, "sys")}
	f.probe = func(path string) (string, error) {
		if filepath.Base(path) == "video1" {
			return "usb-1", camera.ErrNoDevice
		}
		return "bus-" + filepath.Base(path), nil
	}
	return f
}

func TestResolve(t *testing.T) {
	f := plugged(t)
	for name, want := range map[string]string{
		"/dev/v4l/by-id/x":               "/dev/v4l/by-id/x",
		"7":                              f.dev + "/video7",
		"serial=SN-1-1":                  f.dev + "/video0",
		"serial=SN-1-2":                  f.dev + "/video2",
		"usb=1-2":                        f.dev + "/video2",
		"bus=bus-video10":                f.dev + "/video10",
		"board":                          f.dev + "/video10",
		"usb-Webcam_SN-1-1-video-index0": f.dev + "/v4l/by-id/usb-Webcam_SN-1-1-video-index0",
		" pci-usb-0:1:1.0-video-index0 ": f.dev + "/v4l/by-path/pci-usb-0:1:1.0-video-index0",
	} {
		if got, err := f.resolve(name); err != nil || got != want {
			t.Errorf("%q: got %q, %v; want %q", name, got, err, want)
		}
	}
	for name, says := range map[string]string{
		"serial=none":             "serial=SN-1-1 usb=1-1",
		"../video0":               "expected /dev/videoN",
		"Webcam: Webcam\ufffd[1m": "name the port instead",
		"99999999":                "expected /dev/videoN",
		"serial=":                 "expected /dev/videoN",
	} {
		got, err := f.resolve(name)
		if !errors.Is(err, camera.ErrNoDevice) || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: got %q, %v; want it to say %q", name, got, err, says)
		}
	}
}

func TestSourceLine(t *testing.T) {
	f := plugged(t)
	all, err := f.nodes()
	if err != nil || len(all) != 4 {
		t.Fatalf("%d nodes, %v; want 4", len(all), err)
	}
	for i, want := range map[int]string{
		0: f.dev + "/v4l/by-id/usb-Webcam_SN-1-1-video-index0", 2: "v4l2:serial=SN-1-2", 3: "v4l2:bus=platform:soc",
	} {
		if got := f.source(all[i], "platform:soc", all); got != want {
			t.Errorf("%v: got %q, want %q", all[i], got, want)
		}
	}
	all[0].serial = all[2].serial
	if got := f.source(all[0], "b", all); got != "v4l2:usb=1-1" {
		t.Errorf("with a twin: got %q, want the port", got)
	}
}

func TestNothingPlugged(t *testing.T) {
	f := finder{dev: t.TempDir(), sysfs: t.TempDir()}
	if _, err := f.resolve("serial=x"); !errors.Is(err, camera.ErrNoDevice) || !strings.Contains(err.Error(), "no camera is plugged in") {
		t.Errorf("got %v", err)
	}
}
