package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"framekeeper/internal/async"
	"framekeeper/internal/cli"
	"framekeeper/pkg/camera"
)

// checkGrace is how long a source may take to end after its context has, before it
// counts as one that does not return.
const checkGrace = time.Second

// checkResult is what a check found of one camera, as --json prints it.
type checkResult struct {
	Camera   string        `json:"camera"`
	OK       bool          `json:"ok"`
	Error    string        `json:"error,omitempty"`
	Source   string        `json:"source"`
	Driver   string        `json:"driver,omitempty"`
	Asked    checkedFormat `json:"asked"`
	Granted  checkedFormat `json:"granted"`
	Measured checkedFormat `json:"measured"`
	Encoding string        `json:"encoding,omitempty"`
	Bytes    int           `json:"bytes,omitempty"` // of one frame as it is sent
	Controls string        `json:"controls,omitempty"`
	Broken   uint64        `json:"broken,omitempty"` // discarded frames
	Defect   string        `json:"defect,omitempty"` // of the last of them
	Warning  string        `json:"warning,omitempty"`
}

type checkedFormat struct {
	Width  int     `json:"width,omitempty"`
	Height int     `json:"height,omitempty"`
	Format string  `json:"format,omitempty"`
	FPS    float64 `json:"fps,omitempty"` // 0: unknown
}

// checkAll checks one camera after the other and goes on after one that fails. limit asks
// Redis for its limit.
func checkAll(ctx context.Context, cams []camera.Config, limit func() outputLimit, asJSON bool, out io.Writer) error {
	var errs []error
	results := make([]checkResult, len(cams))
	for i := range cams {
		r, err := check(ctx, cams[i])
		if err != nil {
			r = checkResult{Camera: cams[i].Name, Source: camera.RedactSource(cams[i].Source), Asked: r.Asked, Error: err.Error()}
			errs = append(errs, err)
			results[i] = r
			continue
		}
		r.Warning = limit().warning(pixelBytes(&cams[i], r.Measured.Width, r.Measured.Height))
		if !asJSON {
			if _, err := io.WriteString(out, r.String()); err != nil {
				return err
			}
		}
		results[i] = r
	}
	failed := errors.Join(errs...)
	if asJSON {
		err := cli.WriteJSON(out, map[string]any{"ok": failed == nil, "cameras": results})
		return errors.Join(failed, err)
	}
	return failed
}

// check opens the camera once and measures it over a few frames. The
// configuration has been validated by then.
func check(ctx context.Context, cam camera.Config) (checkResult, error) {
	return checkWith(ctx, cam, openSource, 2*max(cam.StallTimeout, 2*cam.Interval())+10*time.Second)
}

// checkWith is check with a limit. A call into a driver cannot be cancelled: one
// that does not return within the limit, or after a signal, is abandoned, and the
// process must end soon.
func checkWith(ctx context.Context, cam camera.Config, open camera.Opener, limit time.Duration) (checkResult, error) {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	patient, abandon := context.WithCancel(context.Background())
	defer abandon()
	defer context.AfterFunc(limited, func() { time.AfterFunc(checkGrace, abandon) })()
	r, err := async.Abandon(patient, func() (checkResult, error) { return measure(limited, cam, open) })
	if errors.Is(err, async.ErrAbandoned) {
		return r, hungError(ctx, cam, limit)
	}
	if errors.Is(err, context.DeadlineExceeded) && limited.Err() != nil && ctx.Err() == nil {
		none := fmt.Errorf("check camera %s: %w within %v: %s", cam.Name, camera.ErrNoData, limit, camera.RedactSource(cam.Source))
		err = camera.WithSymptom(none, err)
	}
	return r, err
}

// hungError is the error for a source whose code does not return, with what may help.
func hungError(ctx context.Context, cam camera.Config, limit time.Duration) error {
	when := fmt.Sprintf("still busy after %v", limit)
	if ctx.Err() != nil {
		when = "still busy when the check was interrupted"
	}
	return fmt.Errorf("check camera %s: %w: %s is %s; see that its address answers or its cable is in, "+
		"try the source with another program, and check again", cam.Name, camera.ErrHung, camera.RedactSource(cam.Source), when)
}

// measure reads a few frames and reports what was asked, granted and given.
func measure(ctx context.Context, cam camera.Config, open camera.Opener) (checkResult, error) {
	r := checkResult{
		Camera: cam.Name, Source: camera.RedactSource(cam.Source),
		Asked: checkedFormat{cam.Width, cam.Height, string(cam.Format), cam.FPS},
	}
	src, err := open(ctx, cam)
	if err != nil {
		return r, fmt.Errorf("open camera %s: %w", cam.Name, err)
	}
	defer func() { _ = src.Close() }()
	var f camera.Frame
	fps, err := measureRate(ctx, src, &f)
	if err != nil {
		return r, fmt.Errorf("read camera %s: %w", cam.Name, err)
	}
	img, err := camera.NewEncoder(cam, jpegEncoder()).Encode(ctx, nil, &f)
	if err != nil {
		return r, err
	}
	info := src.Info()
	r.OK, r.Driver, r.Controls = true, info.Driver, info.Note
	r.Granted = checkedFormat{info.Width, info.Height, info.Format.String(), info.FPS}
	r.Measured = checkedFormat{f.Width, f.Height, f.Format.String(), fps}
	r.Encoding, r.Bytes = string(img.Encoding), len(img.Data)
	if counter, ok := src.(camera.DefectCounter); ok {
		d := counter.Defects()
		r.Broken, r.Defect = d.Broken, d.Last
	}
	return r, nil
}

// String is the result for people.
func (r checkResult) String() string {
	text := fmt.Sprintf("camera %s: %s (%s): asked for %dx%d at %.4g fps, format %s; granted %dx%d %s at %s\n",
		r.Camera, r.Source, r.Driver, r.Asked.Width, r.Asked.Height, r.Asked.FPS, r.Asked.Format,
		r.Granted.Width, r.Granted.Height, r.Granted.Format, shownFPS(r.Granted.FPS))
	if r.Controls != "" {
		text += "  controls: " + r.Controls + "\n"
	}
	if r.Broken > 0 {
		text += fmt.Sprintf("  discarded: %d broken frames, the last %s\n", r.Broken, r.Defect)
	}
	if r.Warning != "" {
		text += "  warning: " + r.Warning + "\n"
	}
	return text + fmt.Sprintf("  it gives %dx%d %s, measured %.1f fps; one frame as %s is %d bytes\n",
		r.Measured.Width, r.Measured.Height, r.Measured.Format, r.Measured.FPS, r.Encoding, r.Bytes)
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
		return "an unknown rate"
	}
	return fmt.Sprintf("%.4g fps", fps)
}
