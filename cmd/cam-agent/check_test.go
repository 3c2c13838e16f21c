package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"framekeeper/pkg/camera"
)

func checkConfig() camera.Config {
	cam := camera.Default()
	cam.Name, cam.Source = "cam1", "gst:rtspsrc location=rtsp://u:secret@h/x ! appsink"
	return cam
}

// nextUntil is a source whose Next returns when released, whatever its ctx says.
type nextUntil struct{ release <-chan struct{} }

func (s nextUntil) Next(context.Context, *camera.Frame) error { <-s.release; return camera.ErrNoData }
func (s nextUntil) Info() camera.Info                         { return camera.Info{} }
func (s nextUntil) Close() error                              { return nil }

func TestCheckEndsWhenTheDriverDoesNot(t *testing.T) {
	for name, inOpen := range map[string]bool{"in open": true, "in Next": false} {
		for _, signalled := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					release := make(chan struct{})
					defer close(release)
					open := func(context.Context, camera.Config) (camera.Source, error) {
						if inOpen {
							<-release
							return nil, camera.ErrNoDevice
						}
						return nextUntil{release}, nil
					}
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					want, says := 14*time.Second+checkGrace, "after 14s"
					if signalled {
						time.AfterFunc(3*time.Second, cancel)
						want, says = 3*time.Second+checkGrace, "told to stop"
					}
					start := time.Now()
					err := checkWith(ctx, checkConfig(), open, 14*time.Second, &bytes.Buffer{})
					if took := time.Since(start); !errors.Is(err, camera.ErrStuck) || took != want {
						t.Fatalf("got %v after %v, want ErrStuck after %v", err, took, want)
					}
					if got := err.Error(); !strings.Contains(got, says) || !strings.Contains(got, "gst:rtspsrc …") || strings.Contains(got, "secret") {
						t.Errorf("got %q, want it to say %q and the source without its password", got, says)
					}
					if exitCode(err) != exitCamera {
						t.Errorf("exit code %d, want %d", exitCode(err), exitCamera)
					}
				})
			})
		}
	}
}

func TestCheckPrintsWhatTheCameraGives(t *testing.T) {
	cam := checkConfig()
	cam.Source = "test:"
	var out bytes.Buffer
	if err := check(t.Context(), cam, &out); err != nil || !strings.Contains(out.String(), "gives 1280x720") {
		t.Errorf("got %q, %v, want a line with the size", &out, err)
	}
}

func TestListNodes(t *testing.T) {
	dev, sysfs := t.TempDir(), t.TempDir()
	var out bytes.Buffer
	if err := listNodes(dev, sysfs, &out); err != nil || !strings.Contains(out.String(), "no V4L2 device") {
		t.Errorf("without devices: got %q, %v", &out, err)
	}
	for _, node := range []string{"video10", "video2", "video-dec"} {
		if err := os.WriteFile(filepath.Join(dev, node), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(sysfs, "video2"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(sysfs, "video2", "name"), []byte("HD \x1b[1mWebcam\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	want := dev + "/video2  HD [1mWebcam  source = \"opencv:2\"\n" + dev + "/video10  (name unknown)  source = \"opencv:10\"\n"
	if err := listNodes(dev, sysfs, &out); err != nil || out.String() != want {
		t.Errorf("got %q, %v, want %q", &out, err, want)
	}
}

func TestHelp(t *testing.T) {
	var out, stderr bytes.Buffer
	if err := run(t.Context(), []string{"--help"}, &out, &stderr); err != nil || stderr.Len() > 0 {
		t.Fatalf("got %v and %q on standard error, want neither", err, &stderr)
	}
	if got := out.String(); !strings.HasPrefix(got, "Usage: cam-agent ") || !strings.Contains(got, "-list-devices") {
		t.Errorf("got %q, want a usage text with the flags", got)
	}
	var usage *usageError
	if err := run(t.Context(), []string{"--nonsense"}, &out, &stderr); !errors.As(err, &usage) || !strings.Contains(err.Error(), "--help") || stderr.Len() > 0 {
		t.Errorf("got %v and %q on standard error, want one usage error that names --help", err, &stderr)
	}
}
