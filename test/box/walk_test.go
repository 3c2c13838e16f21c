package box

import (
	"bytes"
	"fmt"
	"image"
	"image/jpeg"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"framekeeper/internal/status"
	"framekeeper/internal/testkit/browsertest"
	"framekeeper/internal/testkit/redistest"
)

// walkedBox has eight cameras; the last hangs while there is a file named hold.
const walkedBox = `state_dir = "DIR/state"
[redis]
url = "URL"
[delivery]
spool_dir = "DIR/spool"
[log]
format = "json"
[controller]
box = "knitting-3"
log_interval = "200ms"
http = "HTTP"
watchdog_timeout = "6s"
`

const walkedCamera = `[[camera]]
name = "cam%d"
source = "test:"
width = 640
height = 360
fps = 10
publish_fps = 2
`

const hangingCamera = `[[camera]]
name = "cam8"
source = "exec:DIR/feed.sh DIR"
stall_timeout = "1s"
`

const feed = `#!/bin/sh
while :; do
	[ -e "$1/hold" ] || cat "$1/frame.jpg"
	sleep 0.1
done
`

// walk is somebody before the page of a box.
type walk struct {
	*box
	*browsertest.Tab
	server     *redistest.Server
	controller *program
}

// TestWalk looks at a box as people do, whatever becomes of it: the page of a real
// controller with real agents and a real Redis, in a real browser.
func TestWalk(t *testing.T) {
	t.Parallel()
	browser := browsertest.Start(t)
	w := &walk{server: redistest.Start(t)}
	text := strings.ReplaceAll(walkedBox, "URL", w.server.URL())
	for n := range 7 {
		text += fmt.Sprintf(walkedCamera, n+1)
	}
	w.box = newBox(t, text+hangingCamera)
	w.feed()
	w.controller = w.start("controller")
	w.Tab = browsertest.Open(browser, t)
	w.NeedAxe()
	w.awaitHealthy()
	w.Do(chromedp.Navigate("http://" + w.http))
	w.sees("a healthy box", "Healthy")
	w.moves("cam1", "cam4", "cam8")
	for _, step := range []struct {
		name string
		do   func()
	}{
		{"Redis is killed", w.losesRedis}, {"a picture is taken", w.takes}, {"a camera stalls", w.stalls}, {"an agent is killed", w.losesAgent},
		{"an agent hangs", w.hangs}, {"keyboard", w.types}, {"phone", w.holdsPhone}, {"the controller is restarted", w.restarts}, {"client view", w.views},
	} {
		began := time.Now()
		step.do()
		t.Logf("%s: %.1f s", step.name, time.Since(began).Seconds())
	}
}

// feed gives the last camera something to show.
func (w *walk) feed() {
	w.Helper()
	var out bytes.Buffer
	if err := jpeg.Encode(&out, image.NewGray(image.Rect(0, 0, 640, 360)), nil); err != nil {
		w.Fatal(err)
	}
	for name, text := range map[string][]byte{"feed.sh": []byte(feed), "frame.jpg": out.Bytes()} {
		if err := os.WriteFile(w.path(name), text, 0o755); err != nil { //nolint:gosec // a program
			w.Fatal(err)
		}
	}
}

// sees waits until the verdict of the page is this, and all of that stands on it.
func (w *walk) sees(what string, all ...string) {
	w.Helper()
	w.Until(what, fmt.Sprintf(`%s.every((s) => document.querySelector("main").innerText.includes(s))`, list(all)))
}

// list is an array of JavaScript.
func list(all []string) string {
	var quoted []string
	for _, s := range all {
		quoted = append(quoted, fmt.Sprintf("%q", s))
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// moves waits until the pictures of these cameras are live ones, and change.
func (w *walk) moves(cameras ...string) {
	w.Helper()
	for _, name := range cameras {
		tile := fmt.Sprintf(`document.querySelector("#camera-%s .picture")`, name)
		browsertest.Ask[any](w.Tab, tile+`.scrollIntoView({block: "center"})`)
		src := browsertest.Ask[string](w.Tab, tile+`.querySelector("img").src`)
		w.Until(name+" moves", fmt.Sprintf(`((i) => i.src.startsWith("blob:") && i.src !== %q && i.naturalWidth > 0)(%s.querySelector("img")) && !%s.classList.contains("stale")`, src, tile, tile))
	}
}

// losesRedis kills it three times: that is said within two seconds, and it is healed.
func (w *walk) losesRedis() {
	var took []time.Duration
	for range 3 {
		began := time.Now()
		w.server.Kill()
		w.sees("that Redis is away", "Connection to Redis does not work")
		took = append(took, time.Since(began))
		w.moves("cam1", "cam8")
		w.server.Restart()
		w.sees("a healthy box", "Healthy", "LIVE for")
	}
	w.Logf("Redis killed: said on the page after %v", took)
	if slices.Min(took) > 2*time.Second { // a machine that does much else is later
		w.Errorf("that Redis is away was said after %v, want 2 s", took)
	}
	w.moves("cam1", "cam8")
}

// takes a picture with key and value, and gets it on the page with its metadata.
func (w *walk) takes() {
	w.in("cam2", `.querySelector("summary").click()`)
	w.in("cam2", `.querySelector("[aria-label='Value 1']").value = "A7"`)
	w.in("cam2", `.querySelector("[aria-label='Value 2']").value = "25"`)
	w.in("cam2", `.querySelector("[type=submit]").click()`)
	w.Until("the frame with its metadata", `((a) => a?.querySelector("img")?.naturalWidth === 640 && ["640 × 360", "A7", "25"].every((s) => a.querySelector("dl").innerText.includes(s)))(document.querySelector("#camera-cam2 .answer"))`)
	w.Until("what can be downloaded", `/^cam2_\d+-\d+\.jpg$/.test(document.querySelector("#camera-cam2 .answer a").download)`)
	w.Shoot("walk-taken")
	w.in("cam2", `.querySelector("summary").click()`)
}

// in does something to what is in a camera's card.
func (w *walk) in(name, does string) {
	w.Helper()
	browsertest.Ask[any](w.Tab, `document.querySelector("#camera-`+name+`")`+does)
}

// stalls hangs the source of a camera: its picture is greyed, with its time and why.
func (w *walk) stalls() {
	if err := os.WriteFile(w.path("hold"), nil, 0o600); err != nil {
		w.Fatal(err)
	}
	w.sees("the stall", "Failed", "cam8 gives no frames")
	w.in("cam8", `.scrollIntoView({block: "center"})`)
	w.Until("a greyed picture with its time", isOld("cam8"))
	w.Shoot("walk-stalled")
	w.moves("cam1")
	if err := os.Remove(w.path("hold")); err != nil {
		w.Fatal(err)
	}
	w.sees("a healthy box", "Healthy")
	w.moves("cam8")
}

// isOld is true for a picture that nobody can take for a live one.
func isOld(camera string) string {
	return fmt.Sprintf(`((f) => getComputedStyle(f.querySelector("img")).filter.includes("grayscale") && /^Not live, of \d+:\d+:\d+.*: [^@]+$/.test(f.querySelector("figcaption").innerText))(document.querySelector("#camera-%s .picture"))`, camera)
}

// losesAgent kills one: the page says that there is another.
func (w *walk) losesAgent() {
	before := w.agent("cam3")
	if err := syscall.Kill(before.PID, syscall.SIGKILL); err != nil {
		w.Fatal(err)
	}
	w.sees("how it ended", "last end: signal: killed")
	w.await("another agent", func() bool { p := w.agent("cam3").PID; return p != 0 && p != before.PID })
	w.sees("a healthy box", "Healthy")
	w.moves("cam3")
	w.Shoot("walk-killed")
}

func (w *walk) agent(camera string) status.Process { return w.health().Agents[camera] }

// hangs stops an agent: neither its picture nor its figures pass for those of now.
func (w *walk) hangs() {
	pid := w.agent("cam4").PID
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		w.Fatal(err)
	}
	w.in("cam4", `.scrollIntoView({block: "center"})`)
	w.Until("a greyed picture with its time", isOld("cam4"))
	w.Shoot("walk-hung")
	w.await("another agent", func() bool { p := w.agent("cam4").PID; return p != 0 && p != pid })
	w.sees("a healthy box", "Healthy")
	w.moves("cam4")
}

// types uses the page with the keyboard alone: all that can be used is reached, in the
// order of the page, and can be seen to be reached.
func (w *walk) types() {
	browsertest.Call(w.Tab, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true})
	w.Do(chromedp.Navigate("http://" + w.http))
	w.moves("cam1")
	browsertest.Ask[any](w.Tab, `scrollTo(0, 0); document.body.tabIndex = -1; document.body.focus(); document.body.removeAttribute("tabindex"); window.mine = [...document.querySelectorAll("a, summary, button, input")].filter((e) => e.checkVisibility())`)
	n := browsertest.Ask[int](w.Tab, `mine.length`)
	for i := range n {
		w.Do(chromedp.KeyEvent("\t"))
		w.Until(fmt.Sprintf("what key %d leads to, in sight and marked", i+1), fmt.Sprintf(`((e) => document.activeElement === e && getComputedStyle(e).outlineStyle !== "none" && ((r) => r.bottom > 0 && r.top < innerHeight)(e.getBoundingClientRect()))(mine[%d])`, i))
	}
	w.in("cam5", `.querySelector("summary").focus()`)
	w.Do(chromedp.KeyEvent(" "))
	w.Until("an open form", `document.querySelector("#camera-cam5 details").open`)
	w.Do(chromedp.KeyEvent("\tdepth\t2.5\t\t\t "))
	w.Until("another field, with the focus in it", `document.activeElement.getAttribute("aria-label") === "Key 3"`)
	w.Do(chromedp.KeyEvent("\r"))
	w.Until("the frame", `document.querySelector("#camera-cam5 .answer dl")?.innerText.includes("2.5")`)
	w.Shoot("walk-keyboard")
}

// holdsPhone looks at it on a small dark screen, with as little motion as possible.
func (w *walk) holdsPhone() {
	w.Prefer("prefers-color-scheme", "dark", "prefers-reduced-motion", "reduce")
	w.Do(chromedp.EmulateViewport(360, 740, chromedp.EmulateMobile), chromedp.Navigate("http://"+w.http))
	w.moves("cam1", "cam8")
	if wide := browsertest.Ask[int](w.Tab, `document.documentElement.scrollWidth`); wide > 360 {
		w.Errorf("a page of a phone is %d wide, want 360", wide)
	}
	if n := browsertest.Ask[int](w.Tab, `document.getAnimations().length`); n > 0 {
		w.Errorf("%d things move for somebody who wants none to", n)
	}
	w.admitsAll("the page on a phone")
	w.Shoot("walk-phone")
}

// restarts ends the controller under an open page: that is said, and heals.
func (w *walk) restarts() {
	if err := w.controller.end(syscall.SIGTERM); err != nil {
		w.Errorf("controller: %v", err)
	}
	w.Until("that contact is lost", `document.getElementById("contact").innerText.includes("No contact with this box since")`)
	w.Shoot("walk-lost")
	w.controller = w.start("controller")
	w.Until("contact", `document.getElementById("contact").hidden`)
	w.sees("a healthy box", "Healthy")
	w.moves("cam1", "cam8")
}

// views looks at the same cameras from elsewhere: through Redis, with "client view".
func (w *walk) views() {
	addr := redistest.FreeAddr(w.T)
	w.start("client", "view", "--redis", w.server.URL(), "--listen", addr)
	w.await("client view", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	w.Prefer()
	w.Do(chromedp.EmulateViewport(1280, 800), chromedp.Navigate("http://"+addr))
	w.sees("all cameras of the box", "knitting-3", "8 of 8 cameras")
	w.moves("cam1", "cam7")
	w.admitsAll("the overview")
	w.Shoot("view-overview")
	began := time.Now()
	w.server.Kill()
	w.sees("that Redis is away", "what was known when Redis was last there")
	w.Logf("Redis killed: said by client view after %v", time.Since(began))
	w.server.Restart()
	w.Until("that it is back", `!document.querySelector("main").innerText.includes("when Redis was last there")`)
	w.moves("cam1", "cam7")
	for _, path := range []string{"/boxes/knitting-3", "/cameras/cam2"} {
		w.Do(chromedp.Navigate("http://" + addr + path))
		w.moves("cam2")
		w.admitsAll(path)
		w.Shoot("view" + strings.ReplaceAll(path, "/", "-"))
	}
	w.takes()
}

// admitsAll wants that nobody is shut out from the page.
func (w *walk) admitsAll(page string) {
	w.Helper()
	for _, barrier := range w.Barriers() {
		w.Errorf("%s: %s", page, barrier)
	}
}

const firstBox = `state_dir = "DIR/state"
[redis]
url = "URL"
[controller]
box = "knitting-3"
http = "HTTP"
[[camera]]
name = "greencam1"
source = "test:"
publish_fps = 10
[[camera]]
name = "redcam"
source = "test:"
width = 640
height = 480
`

// TestFirstLook is what a newcomer sees, at a desk and on a phone at night. With
// PAGE_SHOTS it takes the pictures of the documents.
func TestFirstLook(t *testing.T) {
	t.Parallel()
	w := &walk{server: redistest.Start(t), Tab: browsertest.Open(browsertest.Start(t), t)}
	w.NeedAxe()
	w.box = newBox(t, strings.ReplaceAll(firstBox, "URL", w.server.URL()))
	w.start("controller")
	w.awaitHealthy()
	for _, look := range []struct {
		name, scheme string
		width        int64
	}{{"page", "light", 1000}, {"page-phone", "dark", 390}} {
		w.Prefer("prefers-color-scheme", look.scheme)
		w.Do(chromedp.EmulateViewport(look.width, 844), chromedp.Navigate("http://"+w.http))
		w.sees("all figures", "Healthy", "CPU", "memory", "frames/s")
		w.moves("redcam", "greencam1")
		if wide := browsertest.Ask[int64](w.Tab, `document.documentElement.scrollWidth`); wide > look.width {
			t.Errorf("%s: %d wide, want %d", look.name, wide, look.width)
		}
		w.admitsAll(look.name)
		w.Shoot(look.name)
	}
	for _, said := range w.Complaints() {
		if !strings.Contains(said, "status of 503") { // a picture that a busy machine did not have in time
			t.Errorf("the browser complains: %s", said)
		}
	}
}
