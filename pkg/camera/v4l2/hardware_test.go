//go:build device

package v4l2

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"framekeeper/pkg/camera"
)

// Tests with the tag device talk to the kernel's virtual camera, vivid, under
// scripts/camera-vm.sh: only that can be made to fail. FRAMEKEEPER_VIDEO_DEVICE
// names its node; without it the first one is taken.

func vivid(t testing.TB) string {
	t.Helper()
	path := os.Getenv("FRAMEKEEPER_VIDEO_DEVICE")
	if path == "" {
		all, others, err := Devices()
		i := slices.IndexFunc(all, func(d Device) bool { return d.Driver == "vivid" })
		if i < 0 {
			t.Skipf("no vivid here (%v %v): run this test under scripts/camera-vm.sh", others, err)
		}
		path = all[i].Path
	}
	// It remembers controls and an injected fault from one test to the next.
	set(t, path, "percentage_of_dropped_buffers", 0)
	set(t, path, "gain_automatic", 1)
	set(t, path, "timestamp_source", 0)
	set(t, path, "wrap_sequence_number", 0)
	return path
}

// set sets a control from beside, as v4l2-ctl does.
func set(t testing.TB, path, name string, v int64) {
	t.Helper()
	d, err := openNode(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.close() }()
	c := find(d.controls(), name)
	if c == nil {
		t.Fatalf("no control %s", name)
	}
	if err := d.setControl(c, v); err != nil {
		t.Fatalf("set %s: %v", name, err)
	}
}

func value(t testing.TB, path, name string) int64 {
	t.Helper()
	d, err := openNode(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.close() }()
	return find(d.controls(), name).Value
}

func configFor(path string) camera.Config {
	cfg := camera.Default()
	cfg.Name, cfg.Source, cfg.Width, cfg.Height, cfg.FPS = "cam", path, 640, 360, 30
	return cfg
}

func mustOpen(t testing.TB, cfg camera.Config) *Source {
	t.Helper()
	src, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = src.Close() })
	return src.(*Source)
}

func mustNext(t testing.TB, s *Source, f *camera.Frame) {
	t.Helper()
	if err := s.Next(t.Context(), f); err != nil {
		t.Fatal(err)
	}
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatal("in vain: " + what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestFormatsAndSizes(t *testing.T) {
	path := vivid(t)
	for _, c := range []struct {
		w, h   int
		fps    float64
		format camera.Format
		want   string
	}{
		{640, 360, 30, camera.FormatAuto, "640x360 yuyv 30"},
		{1280, 720, 15, camera.FormatYUYV, "1280x720 yuyv 12.5"},
		{700, 400, 100, camera.FormatAuto, "640x360 yuyv 40"},
		{320, 180, 12, camera.FormatAuto, "320x180 yuyv"},
	} {
		cfg := configFor(path)
		cfg.Width, cfg.Height, cfg.FPS, cfg.Format = c.w, c.h, c.fps, c.format
		s := mustOpen(t, cfg)
		i := s.Info()
		got := fmt.Sprintf("%dx%d %s %.4g", i.Width, i.Height, i.Format, i.FPS)
		if !strings.HasPrefix(got, c.want) || i.Driver != "v4l2 vivid" || i.Latency != 0 {
			t.Errorf("asked for %dx%d at %v: got %s (%+v), want %s", c.w, c.h, c.fps, got, i, c.want)
		}
		var f camera.Frame
		mustNext(t, s, &f)
		if len(f.Data) != i.Width*i.Height*2 || f.Width != i.Width || f.Height != i.Height {
			t.Errorf("a frame of %dx%d with %d bytes", f.Width, f.Height, len(f.Data))
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	cfg := configFor(path)
	cfg.Format = camera.FormatMJPEG
	if _, err := Open(t.Context(), cfg); !errors.Is(err, camera.ErrUnsupported) || !strings.Contains(err.Error(), "YUYV") {
		t.Errorf("mjpeg of a camera without: %v, want the formats it has", err)
	}
}

// Every layout must give the same picture of vivid's colour bars.
func TestLayoutsAgree(t *testing.T) {
	path := vivid(t)
	set(t, path, "osd_text_mode", 2)
	set(t, path, "test_pattern", 0)
	var want []byte
	for _, l := range layouts()[2:] {
		s, err := open(path)
		if err != nil {
			t.Fatal(err)
		}
		s.layout, s.pix, err = s.dev.setMode(mode{layout: l, width: 640, height: 360, interval: fraction{1, 30}})
		if err != nil {
			t.Fatal(err)
		}
		if s.queue, err = newQueue(s.dev); err == nil {
			err = s.queue.start()
		}
		s.info = camera.Info{Width: 640, Height: 360, Format: s.layout.out}
		var f camera.Frame
		if err == nil {
			err = s.Next(t.Context(), &f)
		}
		if err != nil {
			t.Fatalf("%s: %v", l.code, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		bgr, err := camera.NewEncoder(camera.Default(), nil).RawBGR(t.Context(), nil, &f)
		if err != nil {
			t.Fatalf("%s: %v", l.code, err)
		}
		if want == nil {
			want = bgr
		}
		at := (180*640 + 200) * 3 // in the third bar, cyan
		for i := range 3 {
			// Grey is another picture; its luma lies between.
			if d := math.Abs(float64(bgr[at+i]) - float64(want[at+i])); d > 40 && l.code != makeFourCC("GREY") {
				t.Errorf("%s: %v in a bar, YUYV has %v", l.code, bgr[at:at+3], want[at:at+3])
				break
			}
		}
	}
}

func TestControls(t *testing.T) {
	path := vivid(t)
	cfg := configFor(path)
	cfg.Controls = map[string]int64{"gain": 7, "brightness": 99, "menu": 4, "integer_64_bits": -1 << 40, "bitmask": 0x402000, "integer_menu": 6, "button": 1}
	s := mustOpen(t, cfg)
	if note := s.Info().Note; note != "gain_automatic set to 0" {
		t.Errorf("note %q, want it to tell of gain_automatic", note)
	}
	for name, want := range map[string]int64{"gain": 7, "gain_automatic": 0, "brightness": 99, "menu": 4, "integer_64_bits": -1 << 40, "bitmask": 0x402000, "integer_menu": 6} {
		if got := value(t, path, name); got != want {
			t.Errorf("%s is %d, want %d", name, got, want)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	for name, c := range map[string]struct {
		v    int64
		says string
	}{
		"brightness":                {256, "0 to 255"},
		"menu":                      {2, "1 (Menu Item 1), 3 (Menu Item 3)"},
		"nonsense":                  {1, "brightness, contrast"},
		"read_only_integer_32_bits": {1, "only be read"},
		"string":                    {1, "not one of"},
		"bitmask":                   {1, "bits of"},
	} {
		cfg.Controls = map[string]int64{name: c.v}
		if _, err := Open(t.Context(), cfg); !errors.Is(err, camera.ErrUnsupported) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s = %d: got %v, want it to say %q", name, c.v, err, c.says)
		}
	}
	cfg.Controls = map[string]int64{"gain": 1, "gain_automatic": 1}
	if _, err := Open(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "gain_automatic = 0") {
		t.Errorf("got %v, want it to name gain_automatic = 0", err)
	}
}

// Controls are set between two frames of a stream that goes on.
func TestControlsWhileItStreams(t *testing.T) {
	path := vivid(t)
	s := mustOpen(t, configFor(path))
	var f camera.Frame
	mustNext(t, s, &f)
	setter, ok := any(s).(camera.ControlSetter)
	if !ok {
		t.Fatal("the source's controls cannot be set")
	}
	if err := setter.SetControls(map[string]int64{"gain": 9, "brightness": 77}); err != nil {
		t.Fatal(err)
	}
	mustNext(t, s, &f)
	for name, want := range map[string]int64{"gain": 9, "gain_automatic": 0, "brightness": 77} {
		if got := value(t, path, name); got != want {
			t.Errorf("%s is %d, want %d", name, got, want)
		}
	}
	if err := setter.SetControls(map[string]int64{"brightness": 256}); err == nil || !strings.Contains(err.Error(), "0 to 255") {
		t.Errorf("got %v, want what was expected", err)
	}
	mustNext(t, s, &f)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := setter.SetControls(map[string]int64{"brightness": 1}); !errors.Is(err, camera.ErrClosed) {
		t.Errorf("after Close: got %v, want ErrClosed", err)
	}
}

func TestSequenceCountsWhatTheDriverDrops(t *testing.T) {
	path := vivid(t)
	s := mustOpen(t, configFor(path))
	set(t, path, "percentage_of_dropped_buffers", 10)
	defer set(t, path, "percentage_of_dropped_buffers", 0)
	var f camera.Frame
	mustNext(t, s, &f)
	last, missing, frames := f.Seq, uint64(0), 0
	for missing < 5 || frames < 20 {
		mustNext(t, s, &f)
		if f.Seq <= last {
			t.Fatalf("frame %d after %d", f.Seq, last)
		}
		missing += f.Seq - last - 1
		last = f.Seq
		if frames++; frames > 200 {
			t.Fatalf("%d frames, and only %d missing of 10 in 100", frames, missing)
		}
	}
	t.Logf("%d missing among %d frames", missing, frames)
}

func TestSequenceWraps(t *testing.T) {
	path := vivid(t)
	set(t, path, "wrap_sequence_number", 1) // begins 128 below the end of 32 bits
	defer set(t, path, "wrap_sequence_number", 0)
	s := mustOpen(t, configFor(path))
	var f camera.Frame
	for range 300 {
		before := f.Seq
		mustNext(t, s, &f)
		if before != 0 && (f.Seq <= before || f.Seq > before+20) {
			t.Fatalf("frame %d after %d", f.Seq, before)
		}
	}
	if f.Seq <= math.MaxUint32 {
		t.Errorf("frame %d, want it beyond 32 bits", f.Seq)
	}
}

func TestBrokenFramesAreDroppedAndCounted(t *testing.T) {
	path := vivid(t)
	s := mustOpen(t, configFor(path))
	var f camera.Frame
	mustNext(t, s, &f)
	for range 3 {
		set(t, path, "inject_v4l2_buf_flag_error", 1)
		mustNext(t, s, &f)
		mustNext(t, s, &f)
	}
	if d := s.Defects(); d.Broken < 2 || d.Broken > 3 || !strings.Contains(d.Last, "driver") {
		t.Errorf("%+v, want 3 flagged by the driver", d)
	}
}

func TestTimestamps(t *testing.T) {
	path := vivid(t)
	for source, name := range []string{"end of frame", "start of exposure"} {
		set(t, path, "timestamp_source", int64(source))
		s := mustOpen(t, configFor(path))
		if !s.queue.monotonic {
			t.Fatal("vivid's timestamps are monotonic, and we say no")
		}
		var f camera.Frame
		var last time.Time
		var oldest time.Duration
		for range 30 {
			mustNext(t, s, &f)
			age := time.Since(f.Captured)
			if age < 0 || !f.Captured.After(last) {
				t.Errorf("%s: frame of age %v, %v after the one before", name, age, f.Captured.Sub(last))
			}
			oldest, last = max(oldest, age), f.Captured
		}
		if oldest > 2*time.Second {
			t.Errorf("%s: a frame is %v old, want it close to now", name, oldest)
		}
		t.Logf("%s: the oldest of 30 frames was %v old when Next returned", name, oldest)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// expectLost reads until the source fails.
func expectLost(t *testing.T, s *Source, says string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var f camera.Frame
	for {
		err := s.Next(ctx, &f)
		if err == nil {
			continue
		}
		if !errors.Is(err, camera.ErrNoData) || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want ErrNoData saying %q", err, says)
		}
		return
	}
}

func TestDisconnect(t *testing.T) {
	path := vivid(t)
	s := mustOpen(t, configFor(path))
	var f camera.Frame
	mustNext(t, s, &f)
	set(t, path, "disconnect", 1)
	began := time.Now()
	expectLost(t, s, "unplugged")
	t.Logf("noticed after %v", time.Since(began).Round(time.Millisecond))
	if _, err := Open(t.Context(), configFor(path)); !errors.Is(err, camera.ErrNoDevice) {
		t.Errorf("opened while it is gone: %v, want ErrNoDevice", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	mustNext(t, mustOpen(t, configFor(path)), &f) // it is back with its last file closed
}

func TestFatalStreamingError(t *testing.T) {
	path := vivid(t)
	s := mustOpen(t, configFor(path))
	var f camera.Frame
	mustNext(t, s, &f)
	set(t, path, "inject_fatal_streaming_error", 1)
	expectLost(t, s, "fatal error")
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	mustNext(t, mustOpen(t, configFor(path)), &f)
}

func TestErrorsOfOpening(t *testing.T) {
	path := vivid(t)
	for _, c := range []struct{ inject, says string }{
		{"inject_vidioc_streamon_error", "start"}, {"inject_vidioc_reqbufs_error", "request buffers"}, {"inject_vidioc_qbuf_error", "queue"},
	} {
		// It forgets an injected error with its last file.
		holder, err := openNode(path)
		if err != nil {
			t.Fatal(err)
		}
		set(t, path, c.inject, 1)
		before := descriptors(t)
		_, err = Open(t.Context(), configFor(path))
		if !errors.Is(err, camera.ErrNoData) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v, want ErrNoData saying %q", c.inject, err, c.says)
		}
		if now := descriptors(t); now != before {
			t.Errorf("%s: %d open files, %d before", c.inject, now, before)
		}
		if err := holder.close(); err != nil {
			t.Error(err)
		}
		var f camera.Frame
		s := mustOpen(t, configFor(path))
		mustNext(t, s, &f)
		_ = s.Close()
	}
}

func TestBusy(t *testing.T) {
	path := vivid(t)
	s := mustOpen(t, configFor(path))
	_, err := Open(t.Context(), configFor(path))
	if !errors.Is(err, camera.ErrBusy) || !strings.Contains(err.Error(), "fuser -v "+path) {
		t.Errorf("got %v, want ErrBusy", err)
	}
	var f camera.Frame
	mustNext(t, s, &f) // unharmed
}

func TestNoCamera(t *testing.T) {
	for source, says := range map[string]string{
		"/dev/video97": "there is no /dev/video97", "/dev/null": "no V4L2 device", "v4l2:97": "/dev/video97",
		"v4l2:serial=none": "serial=none", "/dev/watchdog": "",
	} {
		if _, err := Open(t.Context(), configFor(source)); !errors.Is(err, camera.ErrNoDevice) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: got %v, want ErrNoDevice saying %q", source, err, says)
		}
	}
}

func TestNames(t *testing.T) {
	path := vivid(t)
	for _, name := range []string{"v4l2:" + path, "v4l2:" + strings.TrimPrefix(path, "/dev/video"), "v4l2:bus=platform:vivid-000", "v4l2:vivid-000-vid-cap"} {
		s := mustOpen(t, configFor(name))
		if s.dev.path != path {
			t.Errorf("%s opened %s, want %s", name, s.dev.path, path)
		}
		_ = s.Close()
	}
}

// stopped makes a camera that is open and gives nothing.
func stopped(t *testing.T) *Source {
	t.Helper()
	s := mustOpen(t, configFor(vivid(t)))
	set(t, s.dev.path, "percentage_of_dropped_buffers", 100)
	t.Cleanup(func() { _ = s.Close(); vivid(t) })
	return s
}

func TestCloseAndContextEndNext(t *testing.T) {
	for name, end := range map[string]func(*Source, context.CancelFunc){
		"close":   func(s *Source, _ context.CancelFunc) { _ = s.Close() },
		"context": func(_ *Source, cancel context.CancelFunc) { cancel() },
	} {
		s := stopped(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		done := make(chan error, 1)
		go func() {
			var f camera.Frame
			for {
				if err := s.Next(ctx, &f); err != nil {
					done <- err
					return
				}
			}
		}()
		time.Sleep(1500 * time.Millisecond) // so that it waits, and has looked after the device once
		began := time.Now()
		end(s, cancel)
		err := <-done
		if took := time.Since(began); took > 500*time.Millisecond {
			t.Errorf("%s: Next returned after %v", name, took)
		}
		if !errors.Is(err, camera.ErrClosed) && !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v", name, err)
		}
		if name == "context" {
			set(t, s.dev.path, "percentage_of_dropped_buffers", 0)
			var f camera.Frame
			mustNext(t, s, &f) // it goes on with another context
		}
		for range 2 {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
		if err := s.Next(t.Context(), &camera.Frame{}); !errors.Is(err, camera.ErrClosed) {
			t.Errorf("Next after Close: %v", err)
		}
	}
}

func TestGrabberHeals(t *testing.T) {
	path := vivid(t)
	cfg := configFor(path)
	g := camera.NewGrabber(cfg, Open, zerolog.New(zerolog.NewTestWriter(t)))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	healthy := func() bool { return g.Health().State == camera.StateOK }
	eventually(t, "the first frame", healthy)
	for _, fault := range []string{"disconnect", "inject_fatal_streaming_error", "disconnect"} {
		h := g.Health()
		set(t, path, fault, 1)
		began := time.Now()
		eventually(t, fault+" is noticed", func() bool { return g.Health().Reopens > h.Reopens })
		frames := g.Health().Frames
		eventually(t, "frames after "+fault, func() bool { return g.Health().Frames > frames && healthy() })
		t.Logf("%s: frames again after %v", fault, time.Since(began).Round(time.Millisecond))
	}
	set(t, path, "inject_v4l2_buf_flag_error", 1)
	eventually(t, "the broken frame is counted", func() bool { return g.Health().Broken > 0 })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

func mappings(t *testing.T) int {
	t.Helper()
	data, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(data), "/dev/video")
}

func TestNothingLeaks(t *testing.T) {
	path := vivid(t)
	before := descriptors(t)
	for i := range 50 {
		cfg := configFor(path)
		if i%3 == 2 {
			cfg.Controls = map[string]int64{"nonsense": 1}
			if _, err := Open(t.Context(), cfg); err == nil {
				t.Fatal("nonsense was accepted")
			}
			continue
		}
		s := mustOpen(t, cfg)
		if i%3 == 0 {
			var f camera.Frame
			mustNext(t, s, &f)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if now := descriptors(t); now != before {
		t.Errorf("%d open files after 50 openings, %d before", now, before)
	}
	if n := mappings(t); n != 0 {
		t.Errorf("%d buffers are still mapped", n)
	}
}

func TestDevicesDescribesIt(t *testing.T) {
	path := vivid(t)
	s := mustOpen(t, configFor(path)) // a camera in use is listed as well
	all, _, err := Devices()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(d Device) bool { return d.Path == path })
	if i < 0 {
		t.Fatalf("not among %+v", all)
	}
	d := all[i]
	if d.Name != "vivid" || d.Bus != "platform:vivid-000" || d.Source != "v4l2:bus=platform:vivid-000" || len(d.Formats) < 10 || len(d.Controls) < 40 {
		t.Errorf("got %s %s %s, %d formats, %d controls", d.Name, d.Bus, d.Source, len(d.Formats), len(d.Controls))
	}
	_ = s.Close()
}

func BenchmarkNextYUYV(b *testing.B) {
	cfg := configFor(vivid(b))
	cfg.Width, cfg.Height = 1280, 720
	benchmarkNext(b, cfg)
}

// benchmarkNext measures what a frame costs from the driver's buffer to ours, as
// CPU time of this process.
func benchmarkNext(b *testing.B, cfg camera.Config) {
	s := mustOpen(b, cfg)
	var f camera.Frame
	mustNext(b, s, &f)
	b.ReportAllocs()
	b.ResetTimer()
	began := cpu()
	for range b.N {
		mustNext(b, s, &f)
	}
	b.ReportMetric(float64((cpu()-began).Microseconds())/float64(b.N), "cpu-us/frame")
	b.ReportMetric(float64(len(f.Data)), "bytes/frame")
}

func cpu() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
