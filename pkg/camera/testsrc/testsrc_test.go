package testsrc

import (
	"bytes"
	"errors"
	"image"
	"image/jpeg"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"framekeeper/internal/testkit/striptest"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/frame"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func config(w, h int, fps float64) camera.Config {
	c := camera.Default()
	c.Name, c.Source, c.Width, c.Height, c.FPS = "cam", "test:", w, h, fps
	return c
}

func mustOpen(t testing.TB, cfg camera.Config) camera.Source {
	t.Helper()
	s, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// The number is read back from the pixels, raw and after JPEG at quality 50.
func TestNumberSurvivesJPEG(t *testing.T) {
	for _, size := range []struct{ w, h int }{
		{MinWidth, MinHeight}, {67, 53}, {160, 120}, {320, 240}, {641, 481}, {1280, 720}, {720, 1280},
	} {
		p := newPattern(size.w, size.h)
		e := camera.NewEncoder(camera.Config{Encoding: frame.JPEG, Quality: 50}, nil)
		at := time.Now()
		for _, number := range []uint64{1, 123456789, 1<<64 - 1} {
			want := striptest.Stamp{Number: number, Captured: at.Truncate(time.Microsecond)}
			pixels := p.render(nil, number, at)
			if len(pixels) != size.w*size.h*3 {
				t.Fatalf("%v: %d bytes rendered, want %d", size, len(pixels), size.w*size.h*3)
			}
			got, err := striptest.ReadStamp(pixels, size.w, size.h)
			if err != nil || got.Number != want.Number || !got.Captured.Equal(want.Captured) {
				t.Errorf("%v raw: %+v, %v; want %+v", size, got, err, want)
			}
			img, err := e.Encode(t.Context(), nil, &camera.Frame{Data: pixels, Width: size.w, Height: size.h})
			if err != nil {
				t.Fatal(err)
			}
			m, err := jpeg.Decode(bytes.NewReader(img.Data))
			if err != nil {
				t.Fatal(err)
			}
			got, err = striptest.ReadImage(m)
			if err != nil || got.Number != want.Number || !got.Captured.Equal(want.Captured) {
				t.Errorf("%v after jpeg: %+v, %v; want %+v", size, got, err, want)
			}
		}
	}
}

func TestReadRefusesOtherImages(t *testing.T) {
	black := make([]byte, 320*240*3)
	if n, err := striptest.ReadNumber(black, 320, 240); !errors.Is(err, striptest.ErrNoStrip) {
		t.Errorf("black: %d, %v; want striptest.ErrNoStrip", n, err)
	}
	if n, err := striptest.ReadNumber(bytes.Repeat([]byte{255}, 320*240*3), 320, 240); !errors.Is(err, striptest.ErrNoStrip) {
		t.Errorf("white: %d, %v; want striptest.ErrNoStrip", n, err)
	}
	if n, err := striptest.ReadNumber(black[:100], 320, 240); !errors.Is(err, striptest.ErrNoStrip) {
		t.Errorf("short: %d, %v; want striptest.ErrNoStrip", n, err)
	}
	if _, err := striptest.ReadNumber(nil, -1, -1); !errors.Is(err, striptest.ErrNoStrip) {
		t.Errorf("negative size: %v; want striptest.ErrNoStrip", err)
	}
	if _, err := striptest.ReadImage(image.NewGray(image.Rect(0, 0, 20, 20))); !errors.Is(err, striptest.ErrNoStrip) {
		t.Errorf("too small: %v; want striptest.ErrNoStrip", err)
	}
	pixels := newPattern(320, 240).render(nil, 7, time.Now())
	fill(pixels, 320, 8, 8, 8, ^pixels[(8*320+8)*3]) // one bit is turned over
	if n, err := striptest.ReadNumber(pixels, 320, 240); !errors.Is(err, striptest.ErrNoStrip) {
		t.Errorf("one bit wrong: %d, %v; want striptest.ErrNoStrip", n, err)
	}
}

// Any size renders, and consecutive frames differ even without a strip.
func TestEverySizeMoves(t *testing.T) {
	for _, size := range []struct{ w, h int }{{1, 1}, {16, 16}, {17, 200}, {200, 17}, {63, 39}, {150, 60}, {2000, 20}} {
		p := newPattern(size.w, size.h)
		var last []byte
		for n := range uint64(300) {
			b := p.render(nil, n+1, time.Now())
			if len(b) != size.w*size.h*3 {
				t.Fatalf("%v: %d bytes, want %d", size, len(b), size.w*size.h*3)
			}
			if size.w > 2 && bytes.Equal(b, last) {
				t.Errorf("%v: frame %d equals the one before", size, n+1)
			}
			last = b
		}
	}
}

func TestTextIsDrawn(t *testing.T) {
	p := newPattern(320, 240)
	if p.scale == 0 {
		t.Fatal("no text in 320x240")
	}
	lit := func(number uint64) (n int) {
		b := p.render(nil, number, time.Time{})
		for y := p.textY; y < p.textY+glyphHeight*p.scale; y++ {
			for x := range 150 {
				if b[(y*320+x)*3] == 0xff {
					n++
				}
			}
		}
		return n
	}
	count := func(s string) (n int) {
		for _, c := range []byte(s) {
			for _, row := range glyphs[c] {
				for ; row > 0; row &= row - 1 {
					n++
				}
			}
		}
		return n * p.scale * p.scale
	}
	for number, text := range map[uint64]string{1: "#1", 1234567890: "#1234567890"} {
		if got, want := lit(number), count(text); got != want {
			t.Errorf("%d white pixels where %q should be, want %d", got, text, want)
		}
	}
}

func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustOpen(t, config(64, 48, 30))
		var f camera.Frame
		start := time.Now()
		for want := uint64(1); want <= 301; want++ {
			if err := s.Next(t.Context(), &f); err != nil {
				t.Fatal(err)
			}
			if got, err := striptest.ReadNumber(f.Data, f.Width, f.Height); err != nil || got != want || f.Seq != want {
				t.Fatalf("frame %d has the number %d (%v), want %d", f.Seq, got, err, want)
			}
		}
		if took := time.Since(start); (took - 10*time.Second).Abs() > time.Millisecond {
			t.Errorf("301 frames at 30 fps took %v, want 10s", took)
		}
		time.Sleep(time.Second) // nobody fetches: frames are left out, not saved up
		for _, want := range []uint64{331, 332} {
			if err := s.Next(t.Context(), &f); err != nil || f.Seq != want {
				t.Errorf("after a pause: frame %d, %v; want %d", f.Seq, err, want)
			}
		}
	})
}

func TestCloseEndsNext(t *testing.T) {
	s := mustOpen(t, config(64, 48, 0.1))
	var f camera.Frame
	if err := s.Next(t.Context(), &f); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- s.Next(t.Context(), &f) }()
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := <-done; !errors.Is(err, camera.ErrClosed) {
		t.Errorf("Next = %v, want ErrClosed", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, source := range []string{"test:?fail_after=3", "test:x", "opencv:0", ""} {
		cfg := config(64, 48, 30)
		cfg.Source = source
		if s, err := Open(t.Context(), cfg); err == nil {
			t.Errorf("Open(%q) = %v, want an error", source, s)
		}
	}
	if _, err := Open(t.Context(), config(64, 48, 0)); err == nil {
		t.Error("Open at 0 fps succeeded")
	}
}

// Through the Grabber: a frame that may answer a request was rendered after
// the request, as its own pixels show.
func TestFreshnessInThePixels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := camera.NewGrabber(config(320, 240, 200), Open, zerolog.Nop())
		done := make(chan error, 1)
		ctx := t.Context()
		go func() { done <- g.Run(ctx) }()
		t.Cleanup(func() { <-done })
		ticket := uint64(0)
		for range 50 {
			time.Sleep(7 * time.Millisecond)
			arrived := time.Now()
			for answered := false; !answered; {
				f, next, err := g.Wait(t.Context(), ticket)
				if err != nil {
					t.Fatal(err)
				}
				ticket = next
				if answered = g.MayAnswer(f, arrived, 0); answered {
					s, err := striptest.ReadStamp(f.Data, f.Width, f.Height)
					if err != nil || s.Captured.Before(arrived.Truncate(time.Microsecond)) || s.Number != f.Seq {
						t.Errorf("answered with %+v (%v), want one from after %v", s, err, arrived)
					}
				}
				f.Release()
			}
		}
	})
}

func BenchmarkRender1280x720(b *testing.B) {
	p := newPattern(1280, 720)
	var buf []byte
	now := time.Now()
	n := uint64(0)
	b.ReportAllocs()
	for b.Loop() {
		n++
		buf = p.render(buf, n, now)
	}
}
