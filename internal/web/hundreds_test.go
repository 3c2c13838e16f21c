package web

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"framekeeper/internal/status"
)

// A page of 400 cameras is soon there, asks for the pictures that can be seen alone, each
// in its own shape, and can be scrolled through.
func TestHundredsOfCameras(t *testing.T) {
	ctx := browser(t)
	var names []string
	for n := range 400 {
		names = append(names, fmt.Sprintf("cam%d", n+1))
	}
	b, box, s := newTab(ctx, t), newBoard(), newStudio(names...)
	s.tick()
	s.run(t, 5)
	box.change(func(r *Report) {
		for _, name := range names[1:] {
			r.Agents = append(r.Agents, status.Process{Name: name, State: status.ProcessRunning, PID: 42, Since: time.Now()})
			r.Seen[name] = reports("ok", "")
		}
	})
	url := serve(t, Config{Report: box.report, Cameras: s})
	began := time.Now()
	_, text := get(t, http.MethodGet, url, "", "")
	rendered := time.Since(began)
	began = time.Now()
	b.do(chromedp.Navigate(url))
	b.until("a live picture", pictureShown+" && "+captionLive)
	shown := time.Since(began)

	began, before := time.Now(), s.calls.Load()
	src := ask[string](b, `document.querySelector("#camera-cam1 img").src`)
	for range 5 {
		b.until("another picture", fmt.Sprintf(`document.querySelector("#camera-cam1 img").src !== %q`, src))
		src = ask[string](b, `document.querySelector("#camera-cam1 img").src`)
	}
	rate := float64(s.calls.Load()-before) / time.Since(began).Seconds()
	if _, n := s.askedFor("cam1"); n > 60 {
		t.Errorf("%d cameras were asked for a picture, want those near the part that can be seen", n)
	}
	b.shoot("hundreds")
	if most := ask[float64](b, `[...document.querySelectorAll("figure.picture")].filter((f) => f.getBoundingClientRect().top < innerHeight + 300).length`); rate > most+5 {
		t.Errorf("%.1f pictures a second were asked for, want one a second for each of %.0f", rate, most)
	}
	began = time.Now()
	ask[any](b, `document.querySelector("#camera-cam400").scrollIntoView()`)
	b.until("a live picture at the end", `((f) => f.querySelector("img").src.startsWith("blob:") && !f.classList.contains("stale"))(document.querySelector("#camera-cam400 .picture"))`)
	t.Logf("%d KiB rendered in %v, a live picture after %v, %.1f pictures a second, a live one %v after scrolling to the end", len(text)>>10, rendered, shown, rate, time.Since(began))
	above, _ := s.askedFor("cam1")
	last, _ := s.askedFor("cam400")
	b.until("news of the last one", `(() => { const i = document.querySelector("#camera-cam400 .picture img"); i.seen ??= i.src; return i.src !== i.seen })()`)
	if now, _ := s.askedFor("cam400"); now <= last {
		t.Errorf("the last one was asked for %d times, before %d", now, last)
	}
	if now, n := s.askedFor("cam1"); now > above+1 || n > 120 {
		t.Errorf("out of view cam1 was asked for %d times more, and %d cameras in all", now-above, n)
	}
	if bars := ask[float64](b, `(() => { const i = document.querySelector("#camera-cam400 .picture img"); return Math.abs(i.clientWidth / i.clientHeight - i.naturalWidth / i.naturalHeight) })()`); bars > 0.02 {
		t.Errorf("the tile's shape differs from its picture's by %v", bars)
	}
	if got := ask[bool](b, `document.querySelector("#camera-cam400 figcaption").innerText.includes("no contact")`); got {
		t.Error("a tile that nobody has looked at claims to have no contact")
	}
	b.quiet()
}
