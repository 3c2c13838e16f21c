package view

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/rs/zerolog"

	"framekeeper/internal/images"
	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/browsertest"
)

// followed is that the page's script runs.
const followed = `document.getElementById("contact").hidden`

// shown is a live picture in the tile of a camera.
func shown(name string) string {
	return fmt.Sprintf(`(() => { const f = document.querySelector("#camera-%s .picture"); return f.querySelector("img").src.startsWith("blob:") && !f.classList.contains("stale") && f.innerText.startsWith("Exposed") })()`, name)
}

// store stores images of a camera, a minute apart.
func store(t *testing.T, dir string, n int) {
	t.Helper()
	cfg := images.Default()
	cfg.Dir = dir
	s, err := images.Open(cfg, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if _, _, err := s.Save(message(t, "cam1", i+1, time.Duration(n-i)*time.Minute, "")); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// Through the pages in a real browser: all boxes, the filter by keyboard, a box, a
// camera, a picture taken, stored images; and Redis killed and back.
func TestBrowser(t *testing.T) {
	ctx := browsertest.Start(t)
	p := newPlant(t)
	n := 0
	p.keep(250*time.Millisecond, func() {
		if p.redis.Running() && p.tryPing() {
			n++
			p.tryExpose("cam1", n+1000)
			p.tryExpose("cam2", n+1000)
		}
	})
	p.report(agent("cam1", "edge1"))
	p.report(agent("cam2", "edge1"))
	p.report(agent("cam3", "edge2", stalled))
	p.expose("cam3", 1, time.Minute)
	p.answering("cam1")
	dir := t.TempDir()
	store(t, dir, 50)
	url := p.serve(func(o *Options) { o.Images = dir })
	b := browsertest.Open(ctx, t)
	b.Do(chromedp.Navigate(url))
	b.Until("all tiles, the worst first", followed+` && [...document.querySelectorAll(".tile h3 a")].map((h) => h.innerText).join() === "cam3,cam1,cam2" && `+shown("cam1")+" && "+shown("cam2"))
	b.Until("a greyed picture", `document.querySelector("#camera-cam3 .picture").classList.contains("stale") && document.querySelector("#camera-cam3 figcaption").innerText.includes("camera stalled")`)
	src := browsertest.Ask[string](b, `document.querySelector("#camera-cam1 img").src`)
	b.Until("a picture that moves", `document.querySelector("#camera-cam1 img").src !== `+strconv.Quote(src))
	readable(b, "overview")
	browsertest.Call(b, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true})
	b.Do(chromedp.KeyEvent("/"))
	b.Until("the focus on the filter", `document.activeElement.id === "q"`)
	browsertest.Ask[any](b, `document.getElementById("q").value = ""`) // a real keyboard types no "/" when its key is taken
	b.Do(chromedp.KeyEvent("cam2"))
	b.Until("what fits", `document.querySelectorAll(".tile").length === 1 && location.search === "?q=cam2" && document.activeElement.id === "q" && `+shown("cam2"))
	b.Do(chromedp.KeyEvent("\b\b\b\b"))
	b.Until("all again", `document.querySelectorAll(".tile").length === 3`)

	b.Do(chromedp.Navigate(url + "/boxes/edge1"))
	b.Until("the box", followed+` && document.title.includes("edge1") && `+shown("cam1"))
	readable(b, "box")
	b.Do(chromedp.Navigate(url + "/cameras/cam1"))
	b.Until("the camera", followed+" && "+shown("cam1")+` && document.querySelector("main").innerText.includes("Last report")`)
	browsertest.Ask[any](b, `document.querySelector("#camera-cam1 summary").click(), document.querySelector("[aria-label='Value 1']").value = "A7", document.querySelector("#camera-cam1 [type=submit]").click()`)
	b.Until("the answer", `document.querySelector(".answer dl")?.innerText.includes("A7") && document.querySelector(".answer img").naturalWidth === 640`)
	readable(b, "camera")

	b.Do(chromedp.Navigate(url + "/images/cam1"))
	b.Until("images", followed+` && document.querySelectorAll(".images img").length === 48 && [...document.querySelectorAll(".images img")].some((i) => i.naturalWidth === 320)`)
	readable(b, "gallery")
	browsertest.Ask[any](b, `document.querySelector("[rel=next]").click()`)
	b.Until("older ones", `document.querySelectorAll(".images img").length === 2`)
	b.Complaints() // the browser reports each 503 of the stalled camera

	b.Do(chromedp.Navigate(url))
	b.Until("all tiles", followed+" && "+shown("cam1"))
	p.redis.Kill()
	b.Until("that Redis is away", `document.querySelector("main").innerText.includes("Connection to Redis") && document.querySelector("#camera-cam1 .state").innerText.includes("unknown state") && document.querySelector("#camera-cam1 .picture").classList.contains("stale")`)
	b.Shoot("away-1280")
	p.redis.Restart()
	p.report(agent("cam1", "edge1"))
	b.Until("that it is back", `!document.querySelector("main").innerText.includes("Connection to Redis") && `+shown("cam1"))
}

// readable looks at a page on a phone and a desktop, light and dark.
func readable(b *browsertest.Tab, name string) {
	for _, width := range []int64{360, 1280} {
		for _, scheme := range []string{"light", "dark"} {
			b.Prefer("prefers-color-scheme", scheme)
			b.Do(chromedp.EmulateViewport(width, 844))
			b.Until("a page no wider than the screen", fmt.Sprintf("document.documentElement.scrollWidth <= %d", width))
			b.Shoot(fmt.Sprintf("%s-%d-%s", name, width, scheme))
		}
	}
}

// A hundred boxes with four cameras each: how large the page is, how long it takes, and
// what it costs.
func TestManyCameras(t *testing.T) {
	ctx := browsertest.Start(t)
	p := newPlant(t)
	var boxes []string
	for i := range 100 {
		boxes = append(boxes, fmt.Sprintf("box%02d", i))
	}
	pipe := p.c.Pipeline()
	for i, box := range boxes {
		for j := range 4 {
			a := agent(fmt.Sprintf("%s-cam%d", box, j+1), box)
			if i == 57 && j == 2 {
				stalled(a)
			}
			p.queue(pipe, a)
			m := message(t, a.Camera, i+j, 0, "")
			p.queueFrame(pipe, m)
		}
	}
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	url := p.serve()
	testkit.Eventually(t, "400 cameras", func() bool { _, page := get(t, url); return strings.Contains(page, "400 of 400 cameras") })
	began := time.Now()
	_, page := get(t, url)
	size, took := len(page), time.Since(began)
	b := browsertest.Open(ctx, t)
	began = time.Now()
	b.Do(chromedp.Navigate(url))
	b.Until("the worst first", followed+` && document.querySelectorAll(".tile").length === 400 && document.querySelector(".tile h3 a").innerText === "box57-cam3"`)
	rendered := time.Since(began)
	b.Until("pictures in view", `document.querySelectorAll(".tile .picture img[src^=blob]").length >= 4`)
	b.Shoot("many-1280")
	reads, cpu, redisCPU := p.calls("xrevrange"), ownCPU(t), p.usedCPU()
	const watched = 10 * time.Second
	time.Sleep(watched) //nolint:forbidigo // a measurement takes time
	reads, cpu, redisCPU = p.calls("xrevrange")-reads, ownCPU(t)-cpu, p.usedCPU()-redisCPU
	inView := browsertest.Ask[int](b, `document.querySelectorAll(".tile .picture img[src^=blob]").length`)
	t.Logf("400 cameras: the page has %d KiB, made in %v, complete in the browser after %v; then in %v: %d tiles with pictures, %.1f reads of a stream a second, CPU of this program %.1f %%, of Redis %.1f %% of a core",
		size>>10, took.Round(time.Millisecond), rendered.Round(time.Millisecond), watched, inView, float64(reads)/watched.Seconds(),
		100*cpu.Seconds()/watched.Seconds(), 100*redisCPU.Seconds()/watched.Seconds())
	if reads > 80*int(watched/time.Second) {
		t.Errorf("%d reads in %v: pictures out of view are fetched", reads, watched)
	}
	browsertest.Ask[any](b, `document.getElementById("q").focus()`)
	b.Do(chromedp.KeyEvent("box42"))
	b.Until("what fits", `document.querySelectorAll(".tile").length === 4`)
}

// ownCPU is what this process has used.
func ownCPU(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// usedCPU is what Redis has used.
func (p *plant) usedCPU() time.Duration {
	var all float64
	for _, key := range []string{"used_cpu_user", "used_cpu_sys"} {
		s, err := strconv.ParseFloat(p.redis.Info("cpu")[key], 64)
		if err != nil {
			p.t.Fatal(err)
		}
		all += s
	}
	return time.Duration(all * float64(time.Second))
}

// Images of every kind are shown, whole and small; what is none is not.
func TestGallery(t *testing.T) {
	p := newPlant(t)
	dir := t.TempDir()
	store(t, dir, 3)
	if err := os.WriteFile(filepath.Join(dir, "secret"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	url := p.serve(func(o *Options) { o.Images = dir })
	awaits(t, url+"/images", "Stored images", "/images/cam1", "3 images")
	page := awaits(t, url+"/images/cam1", "1 to 3 of 3 images", "1764-3", "1764-1", "jpeg")
	_, rest, _ := strings.Cut(page, `<a href="/images/cam1/`)
	file, _, _ := strings.Cut(rest, `"`)
	for path, want := range map[string]int{
		"/images/cam1/" + file: 200, "/images/cam1/" + file + "?w=160": 200, "/images/cam1/" + file + "?w=x": 400,
		"/images/cam1/..%2fsecret": 404, "/images/..%2f..%2fetc/passwd": 404, "/images/cam1/secret": 404, "/images/cam9": 404, "/images/..%2f": 404,
		"/images/cam1?date=" + time.Now().Format(time.DateOnly): 200, "/images/cam1?page=nonsense": 200, "/images/cam1?date=x": 200,
	} {
		resp, body := get(t, url+path)
		if resp.StatusCode != want || strings.Contains(body, "secret") && want == 200 {
			t.Errorf("%s: got %d, want %d: %.80q", path, resp.StatusCode, want, body)
		}
		if want == http.StatusOK && strings.Contains(path, file) && resp.Header.Get("Content-Type") != "image/jpeg" {
			t.Errorf("%s: got %s", path, resp.Header.Get("Content-Type"))
		}
	}
}
