package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"framekeeper/pkg/camera"
)

// checkGrace is how long a source may take to end after it was told to, before
// it counts as one that does not return.
const checkGrace = time.Second

// checkAll checks one camera after the other and goes on after one that fails.
func checkAll(ctx context.Context, cams []camera.Config, out io.Writer) error {
	var errs []error
	for i := range cams {
		errs = append(errs, check(ctx, cams[i], out))
	}
	return errors.Join(errs...)
}

// check opens the camera once, measures it over a few frames, and prints what
// it gives. The configuration has been validated by then.
func check(ctx context.Context, cam camera.Config, out io.Writer) error {
	return checkWith(ctx, cam, openSource, 2*max(cam.StallTimeout, 2*cam.Interval())+10*time.Second, out)
}

// checkWith is check with a limit. A call into a driver cannot be cancelled: one
// that does not return within the limit, or after a signal, is left behind, and
// the process must end soon.
func checkWith(ctx context.Context, cam camera.Config, open camera.Opener, limit time.Duration, out io.Writer) error {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	type result struct {
		text string
		err  error
	}
	done := make(chan result, 1)
	go func() {
		text, err := measure(limited, cam, open)
		done <- result{text, err}
	}()
	var r result
	select {
	case r = <-done:
	case <-limited.Done():
		grace := time.NewTimer(checkGrace)
		defer grace.Stop()
		select {
		case r = <-done:
		case <-grace.C:
			return stuck(ctx, cam, limit)
		}
	}
	if errors.Is(r.err, context.DeadlineExceeded) && limited.Err() != nil && ctx.Err() == nil {
		none := fmt.Errorf("check camera %s: %w within %v: %s", cam.Name, camera.ErrNoData, limit, camera.ShownSource(cam.Source))
		return camera.WithClue(none, r.err)
	}
	if r.err != nil {
		return r.err
	}
	_, err := io.WriteString(out, r.text)
	return err
}

// stuck says that the source's code does not return, and what may help.
func stuck(ctx context.Context, cam camera.Config, limit time.Duration) error {
	when := fmt.Sprintf("still busy after %v", limit)
	if ctx.Err() != nil {
		when = "still busy when the check was told to stop"
	}
	return fmt.Errorf("check camera %s: %w: %s is %s; see that its address answers or its cable is in, "+
		"try the source with another program, and check again", cam.Name, camera.ErrStuck, camera.ShownSource(cam.Source), when)
}

// measure reads a few frames and describes what was asked, granted and given.
func measure(ctx context.Context, cam camera.Config, open camera.Opener) (string, error) {
	src, err := open(ctx, cam)
	if err != nil {
		return "", fmt.Errorf("open camera %s: %w", cam.Name, err)
	}
	defer func() { _ = src.Close() }()
	var f camera.Frame
	fps, err := measureRate(ctx, src, &f)
	if err != nil {
		return "", fmt.Errorf("read camera %s: %w", cam.Name, err)
	}
	img, err := camera.NewEncoder(cam, jpegEncoder()).Encode(nil, &f)
	if err != nil {
		return "", err
	}
	info := src.Info()
	text := fmt.Sprintf("camera %s: %s (%s): asked for %dx%d at %.4g fps, format %s; granted %dx%d %s at %s\n",
		cam.Name, camera.ShownSource(cam.Source), info.Driver, cam.Width, cam.Height, cam.FPS, cam.Format,
		info.Width, info.Height, info.Format, shownFPS(info.FPS))
	if info.Note != "" {
		text += "  controls: " + info.Note + "\n"
	}
	if counter, ok := src.(camera.DefectCounter); ok {
		if d := counter.Defects(); d.Broken > 0 {
			text += fmt.Sprintf("  thrown away: %d broken frames, the last %s\n", d.Broken, d.Last)
		}
	}
	return text + fmt.Sprintf("  it gives %dx%d %s, measured %.1f fps; one frame as %s is %d bytes\n",
		f.Width, f.Height, f.Format, fps, img.Encoding, len(img.Data)), nil
}

const (
	settleTime  = 300 * time.Millisecond // what waited while the source was opened comes in a burst
	rateFrames  = 10
	rateAtLeast = 2 * time.Second // or fewer frames in so long, of a slow camera
)

// measureRate leaves the last frame it read in f.
func measureRate(ctx context.Context, src camera.Source, f *camera.Frame) (fps float64, err error) {
	var began, from time.Time
	for read, n := 1, 0; ; read++ {
		if err := src.Next(ctx, f); err != nil {
			return 0, fmt.Errorf("frame %d: %w", read, err)
		}
		now := time.Now()
		switch {
		case read == 1:
			began = now
		case now.Sub(began) < settleTime:
		case from.IsZero():
			from = now
		default:
			if n++; n == rateFrames || now.Sub(from) >= rateAtLeast {
				return float64(n) / now.Sub(from).Seconds(), nil
			}
		}
	}
}

func shownFPS(fps float64) string {
	if fps == 0 {
		return "a rate it does not say"
	}
	return fmt.Sprintf("%.4g fps", fps)
}
