package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"framekeeper/pkg/camera"
)

// check opens the camera once, measures it over a few frames, and prints what
// it gives. The configuration has been validated by then.
func check(ctx context.Context, cam camera.Config, out io.Writer) error {
	const frames = 10
	ctx, cancel := context.WithTimeout(ctx, 2*cam.StallTimeout+10*time.Second)
	defer cancel()
	src, err := openSource(ctx, cam)
	if err != nil {
		return fmt.Errorf("open camera %s: %w", cam.Name, err)
	}
	defer func() { _ = src.Close() }()
	var f camera.Frame
	var first time.Time
	for n := range frames {
		if err := src.Next(ctx, &f); err != nil {
			return fmt.Errorf("read frame %d of camera %s: %w", n+1, cam.Name, err)
		}
		if n == 0 {
			first = time.Now()
		}
	}
	fps := float64(frames-1) / time.Since(first).Seconds()
	img, err := camera.NewEncoder(cam, jpegEncoder()).Encode(nil, &f)
	if err != nil {
		return err
	}
	info := src.Info()
	_, err = fmt.Fprintf(out, "camera %s: %s (%s) gives %dx%d %s, measured %.1f fps; one frame as %s is %d bytes\n",
		cam.Name, camera.ShownSource(cam.Source), info.Driver, f.Width, f.Height, f.Format, fps, img.Encoding, len(img.Data))
	return err
}

// listDevices names the V4L2 devices the kernel shows.
func listDevices(out io.Writer) error {
	nodes, err := filepath.Glob("/dev/video*")
	if err != nil {
		return err
	}
	if len(nodes) == 0 {
		_, err := fmt.Fprintln(out, "no V4L2 device: plug a camera in, and check that this user is in group video")
		return err
	}
	for _, node := range nodes {
		if _, err := fmt.Fprintln(out, node); err != nil {
			return err
		}
	}
	return nil
}
