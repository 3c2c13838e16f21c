package web

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"framekeeper/internal/agentapi"
	"framekeeper/internal/status"
	"framekeeper/internal/testkit/browsertest"
)

// What the page shows of a camera's picture, as expressions.
const (
	pictureShown = `(() => { const i = document.querySelector("#camera-cam1 .picture img"); return i.src.startsWith("blob:") && i.naturalWidth === 640 })()`
	captionLive  = `/^Exposed .* ago · 1280 × 720$/.test(document.querySelector("#camera-cam1 figcaption").innerText) && !document.querySelector("#camera-cam1 .picture").classList.contains("stale")`
	captionStale = `/^Not live, of \d.*: camera stalled: no light$/.test(document.querySelector("#camera-cam1 figcaption").innerText) && getComputedStyle(document.querySelector("#camera-cam1 .picture img")).filter.includes("grayscale")`
)

// The tiles move, with Redis or without; a picture that is not live is greyed with
// its time; and the page takes pictures.
func TestTilesInABrowser(t *testing.T) {
	ctx := browser(t)
	b, box, s := newTab(ctx, t), newBoard(), newStudio("cam1")
	s.tick()
	s.run(t, 10)
	url := serve(t, Config{Report: box.report, Cameras: s})
	b.do(chromedp.Navigate(url))
	b.until("a live picture", pictureShown+" && "+captionLive)
	moves := func(what string) {
		t.Helper()
		for range 3 {
			src := ask[string](b, `document.querySelector("#camera-cam1 img").src`)
			b.until(what, fmt.Sprintf(`document.querySelector("#camera-cam1 img").src !== %q && `, src)+captionLive)
		}
	}
	moves("the picture moves")
	b.shoot("live")
	box.change(func(r *Report) { r.Link = status.Link{State: "DOWN", Cause: "refused: connection refused"} })
	b.until("that Redis is away", `document.querySelector("[role=status]").innerText.includes("Connection to Redis does not work")`)
	moves("the picture moves without Redis")
	box.change(func(*Report) {})

	s.hold(&agentapi.Unavailable{Reason: "camera stalled: no light"})
	b.until("a greyed picture with its time", captionStale)
	b.shoot("stale")
	if pale := ask[[]string](b, paleTexts); len(pale) > 0 {
		t.Errorf("not contrast enough: %q", pale)
	}
	b.complaints() // the browser reports each 503
	s.hold(nil)
	b.until("a live picture again", pictureShown+" && "+captionLive)
	moves("the picture moves again")

	var asked string
	s.answers = func(request []byte, _ string) (*agentapi.Answer, error) {
		asked = string(request)
		if strings.Contains(asked, "dark") {
			return nil, &agentapi.Unavailable{Reason: "camera stalled: no light"}
		}
		header := `{"id":"1764-57","status":"ok","width":640,"height":360,"bytes":4711,"captured_us":1796044235000000,"request":` + asked + `}`
		return &agentapi.Answer{Header: []byte(header), ContentType: "image/jpeg", Image: coloured(3, 640, 360)}, nil
	}
	// With the keyboard alone.
	browsertest.Call(b.Tab, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true})
	ask[any](b, `document.querySelector("#camera-cam1 summary").focus()`)
	b.do(chromedp.KeyEvent("\r"))
	b.until("an open form", `document.querySelector("#camera-cam1 details").open`)
	b.do(chromedp.KeyEvent("\t\tA7<b>\t\t25\r"))
	b.until("the answer", `["1764-57", "640 × 360", "A7<b>", "25"].every((s) => document.querySelector("#camera-cam1 .answer dl")?.innerText.includes(s)) && document.querySelector("#camera-cam1 .answer img").naturalWidth === 640`)
	var fields map[string]any
	if err := json.Unmarshal([]byte(asked), &fields); err != nil || fields["lot"] != "A7<b>" || fields["angle"] != 25.0 || len(fields) != 2 {
		t.Errorf("the request is %s (%v)", asked, err)
	}
	if name := ask[string](b, `document.querySelector("#camera-cam1 .answer a").download`); name != "cam1_1764-57.jpg" {
		t.Errorf("the download is called %q", name)
	}
	b.shoot("answer")
	box.change(func(r *Report) {
		r.Seen["cam1"] = reports("stalled", "no light")
		r.Stuck = []string{"the link to Redis has not moved for 1m0s"}
	})
	b.until("the page has more on it", `document.getElementById("camera-cam1").innerText.includes("Check the camera") && document.querySelector("main").innerText.includes("has not moved")`)
	if !ask[bool](b, `document.querySelector("#camera-cam1 details").open && document.querySelector("#camera-cam1 .answer dl") !== null`) {
		t.Error("the refreshed page took the answer away")
	}
	b.quiet()
	ask[any](b, `document.querySelector("#camera-cam1 [aria-label='Value 1']").value = "dark"; document.querySelector("#camera-cam1 [type=submit]").click()`)
	b.until("why there is no frame", `document.querySelector("#camera-cam1 .answer .refused")?.innerText === "No frame: camera stalled: no light"`)
}

// Cameras that come and go have tiles of their own.
func TestTilesFollowTheConfiguration(t *testing.T) {
	ctx := browser(t)
	b, box, s := newTab(ctx, t), newBoard(), newStudio("cam1", "cam2")
	s.tick()
	s.run(t, 10)
	b.do(chromedp.Navigate(serve(t, Config{Report: box.report, Cameras: s})))
	b.until("a live picture", pictureShown)
	box.change(func(r *Report) {
		r.Agents = append([]status.Process{{Name: "cam2", State: status.ProcessRunning}}, r.Agents...)
	})
	b.until("two live pictures", `document.querySelectorAll(".picture img[src^=blob]").length === 2 && document.querySelectorAll("details.take:not([hidden])").length === 2`)
	if !ask[bool](b, `[...document.querySelectorAll(".picture")].every((f) => f.closest("section").id === "camera-" + f.dataset.camera)`) {
		t.Error("a picture stands beside another camera's name")
	}
	box.change(func(*Report) {})
	b.until("one picture", `document.querySelectorAll(".picture").length === 1`)
	b.quiet()
}

// Eight cameras with pictures, on each screen and in each colour scheme.
func TestTilesCanBeRead(t *testing.T) {
	ctx := browser(t)
	names := []string{"cam1", "cam2", "cam3", "cam4", "cam5", "cam6", "cam7", "cam8"}
	b, box, s := newTab(ctx, t), newBoard(), newStudio(names...)
	s.tick()
	s.run(t, 5)
	box.change(func(r *Report) {
		for _, name := range names[1:] {
			r.Agents = append(r.Agents, status.Process{Name: name, State: status.ProcessRunning, PID: 42})
			r.Seen[name] = reports("ok", "")
		}
		r.Seen["cam3"] = reports("stalled", "no frames for 2s")
		r.Reload = &status.Reload{Refused: true, Problem: "config.toml:3: redis.nonsense: unknown key"}
	})
	url := serve(t, Config{Report: box.report, Cameras: s})
	for _, width := range []int64{320, 390, 1280} {
		for _, scheme := range []string{"light", "dark"} {
			b.scheme(scheme)
			b.do(chromedp.EmulateViewport(width, 844), chromedp.Navigate(url))
			b.until("a live picture", pictureShown+" && "+captionLive)
			ask[any](b, `document.querySelector("#camera-cam1 details").open = true`)
			if got := ask[int64](b, "document.documentElement.scrollWidth"); got > width {
				t.Errorf("%d wide, %s: the page is %d wide", width, scheme, got)
			}
			if pale := ask[[]string](b, paleTexts); len(pale) > 0 {
				t.Errorf("%d wide, %s: not contrast enough: %q", width, scheme, pale)
			}
			b.shoot(fmt.Sprintf("eight-%d-%s", width, scheme))
		}
	}
	b.quiet()
}

// askedFor is how often a camera's picture was wanted, and how many cameras' were.
func (s *studio) askedFor(camera string) (times, cameras int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[camera], len(s.asked)
}
