package web

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"framekeeper/internal/status"
	"framekeeper/internal/testkit/browsertest"
)

// What the page's script says of itself, as expressions.
const (
	healthy   = `document.title.startsWith("✓") && document.querySelector("[role=status]").innerText.includes("Healthy")`
	followed  = `document.getElementById("contact").hidden && !document.documentElement.classList.contains("lost")`
	noContact = `document.title.startsWith("? No contact") && document.getElementById("contact").innerText.includes("No contact with this box since")`
	// Nothing green is left without saying that this is old.
	noGreen = `getComputedStyle(document.querySelector(".verdict")).display === "none" && getComputedStyle(document.querySelector("main")).filter.includes("grayscale") &&
		[...document.querySelectorAll(".badge")].every((b) => getComputedStyle(b, "::before").content.includes("was"))`
)

// The page in a real browser: it says what is the matter, follows the box by
// itself, and says when it cannot.
func TestPageInABrowser(t *testing.T) {
	ctx := browser(t)

	t.Run("follows the box", func(t *testing.T) {
		t.Parallel()
		b, box := newTab(ctx, t), newBoard()
		url := serve(t, Config{Report: box.report})
		b.do(chromedp.Navigate(url))
		b.until("a healthy page", healthy+" && "+followed)
		ask[any](b, `document.querySelector("h1").mine = document.querySelector("main").mine = true`)

		box.change(func(r *Report) {
			r.Seen["cam1"] = reports("stalled", "no frames")
		})
		b.until("the trouble", `document.title.startsWith("✗") && document.querySelector("[role=status]").innerText.includes("cam1 gives no frames")`)
		b.until("reason and advice", `["capture is stalled: no frames", "Check the camera"].every((s) => document.getElementById("camera-cam1").innerText.includes(s))`)
		ask[any](b, `document.querySelector(".verdict a").focus()`)

		box.change(func(r *Report) {
			r.Agents[0] = status.Process{Name: "cam1", State: status.ProcessCrashLoop, LastExit: "exit code 1"}
		})
		b.until("the next trouble", `document.querySelector("[role=status]").innerText.includes("cam1 is in a crash loop")`)
		if !ask[bool](b, `document.activeElement === document.querySelector(".verdict a")`) {
			t.Error("the page took the focus away")
		}
		box.change(func(*Report) {})
		b.until("a healthy page again", healthy)
		if !ask[bool](b, `document.querySelector("h1").mine && document.querySelector("main").mine`) {
			t.Error("the page was made anew instead of changed, so it flickers")
		}
		b.quiet()
	})

	t.Run("says when contact is lost", func(t *testing.T) {
		t.Parallel()
		b := newTab(ctx, t)
		url, end := serveAt(t, "127.0.0.1:0", Config{Report: good})
		b.do(chromedp.Navigate(url))
		b.until("a healthy page", healthy+" && "+followed)
		b.quiet()
		end()
		b.until("that contact is lost", noContact+" && "+noGreen)
		if pale := ask[[]string](b, paleTexts); len(pale) > 0 {
			t.Errorf("not contrast enough: %q", pale)
		}
		for _, said := range b.complaints() { // a browser reports each vain attempt
			if !strings.Contains(said, "ERR_CONNECTION_REFUSED") {
				t.Errorf("the browser complains: %s", said)
			}
		}
		serveAt(t, strings.TrimPrefix(url, "http://"), Config{Report: good})
		b.until("that contact is back", healthy+" && "+followed)
	})

	t.Run("says when the box hangs", func(t *testing.T) {
		t.Parallel()
		b, box := newTab(ctx, t), newBoard()
		b.do(chromedp.Navigate(serve(t, Config{Report: box.report})))
		b.until("a healthy page", healthy+" && "+followed)
		box.mu.Lock()
		b.until("that contact is lost", noContact+" && "+noGreen)
		box.mu.Unlock()
		b.until("that contact is back", healthy+" && "+followed)
		b.quiet()
	})

	t.Run("says it at once after a sleep", func(t *testing.T) {
		t.Parallel()
		b, box := newTab(ctx, t), newBoard()
		b.do(chromedp.Navigate(serve(t, Config{Report: box.report})))
		b.until("a healthy page", healthy+" && "+followed)
		box.mu.Lock()
		defer box.mu.Unlock()
		lost := ask[bool](b, `{ const now = Date.now; Date.now = () => now() + 3600e3 } document.dispatchEvent(new Event("visibilitychange", {bubbles: true})); `+noContact)
		if !lost {
			t.Error("a page that slept for an hour shows what was before it has asked")
		}
	})

	t.Run("says when something else answers", func(t *testing.T) {
		t.Parallel()
		for _, c := range []struct {
			name   string
			answer http.HandlerFunc
			want   string
		}{
			{"an error", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusInternalServerError) }, "this box answers with error 500"},
			{"another page", func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, "<h1>Welcome to our Wi-Fi</h1>")
			}, "something else answers"},
		} {
			b := newTab(ctx, t)
			url, end := serveAt(t, "127.0.0.1:0", Config{Report: good})
			b.do(chromedp.Navigate(url))
			b.until("a healthy page", healthy+" && "+followed)
			end()
			replace(t, url, c.answer)
			b.until(c.name, noContact+` && document.getElementById("contact").innerText.includes("`+c.want+`")`)
		}
	})

	t.Run("loads a new version of itself", func(t *testing.T) {
		t.Parallel()
		b := newTab(ctx, t)
		url, end := serveAt(t, "127.0.0.1:0", Config{Report: good})
		b.do(chromedp.Navigate(url))
		b.until("a healthy page", healthy+" && "+followed)
		end()
		replace(t, url, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `<html data-print="another"><title>Another version</title>`)
		})
		b.until("the other version", `document.title === "Another version"`)
	})

	t.Run("asks with the password", func(t *testing.T) {
		t.Parallel()
		file := filepath.Join(t.TempDir(), "password")
		if err := os.WriteFile(file, []byte("word"), 0o600); err != nil {
			t.Fatal(err)
		}
		b, box := newTab(ctx, t), newBoard()
		url := serve(t, Config{Report: box.report, Settings: Settings{HTTPUser: "op", HTTPPasswordFile: file}})
		b.do(chromedp.Navigate(strings.Replace(url, "http://", "http://op:word@", 1)))
		b.until("a healthy page", healthy+" && "+followed)
		box.change(func(r *Report) { r.Link = status.Link{State: "DOWN", Cause: "refused"} })
		b.until("the trouble", `document.querySelector("[role=status]").innerText.includes("Connection to Redis does not work")`)
		b.quiet()
	})

	t.Run("says that it cannot without scripts", func(t *testing.T) {
		t.Parallel()
		b := newTab(ctx, t)
		browsertest.Call(b.Tab, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
		b.do(chromedp.Navigate(serve(t, Config{Report: good})))
		b.until("the warning", `document.getElementById("contact").innerText.includes("shows one moment only")`)
		if !ask[bool](b, `document.querySelector("meta[http-equiv=refresh]") !== null`) {
			t.Error("the page does not load itself anew")
		}
		b.quiet()
	})
}

// replace puts another server where one was.
func replace(t *testing.T, url string, answer http.HandlerFunc) {
	t.Helper()
	l, err := net.Listen("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	other := &httptest.Server{Listener: l, Config: &http.Server{Handler: answer}} //nolint:gosec // the test's own visitor
	other.Start()
	t.Cleanup(other.Close)
}

// ugly is a box with everything that is long, hostile or wrong.
func ugly() Report {
	const evil = `<script>document.title = "owned"</script><img src=x onerror="document.title='owned'"></p></section></main><style>* { display: none }</style>`
	r := good()
	r.Box = strings.Repeat("x", 64)
	r.Link = status.Link{State: "DOWN", Cause: "refused: " + evil, Advice: "start it"}
	r.Stuck = []string{"the link to Redis has not moved for 1m0s " + evil}
	r.Reload = &status.Reload{Refused: true, At: time.Now().Add(-24 * time.Hour), Problem: evil + strings.Repeat("config.toml", 20), Problems: 99}
	r.Agents = nil
	for i, state := range []status.ProcessState{status.ProcessRunning, status.ProcessCrashLoop, status.ProcessStopped, status.ProcessFailed} {
		name := fmt.Sprintf("%s%d", strings.Repeat("greencam_", 7), i)
		r.Agents = append(r.Agents, status.Process{Name: name, State: state, PID: 4194304, Restarts: 123456, Hangs: 12345, Failures: i,
			LastExit: evil + strings.Repeat("/dev/v4l/by-id/usb-046d_HD_Pro_Webcam", 9), Says: evil, Recoveries: 99, LastRecovery: evil})
		r.Seen[name] = status.Observation{Missing: status.Reason{Code: status.NotPermitted, Detail: evil}}
	}
	r.Version = evil
	return r
}

// Whatever is on the page can be read: on each screen, in each colour scheme, with
// each word dark or light enough, and text where somebody else wrote it.
func TestPageCanBeRead(t *testing.T) {
	ctx := browser(t)
	b, box := newTab(ctx, t), newBoard()
	url := serve(t, Config{Report: box.report})
	for _, c := range []struct {
		name   string
		report func() Report
		cards  int
	}{{"healthy", good, 2}, {"ugly", ugly, 7}} {
		box.change(func(r *Report) { *r = c.report() })
		for _, width := range []int64{320, 390, 820, 1280} {
			for _, scheme := range []string{"light", "dark"} {
				where := fmt.Sprintf("%s, %d wide, %s", c.name, width, scheme)
				b.scheme(scheme)
				b.do(chromedp.EmulateViewport(width, 844, chromedp.EmulateMobile), chromedp.Navigate(url))
				b.until("the script", followed)
				if got := ask[int64](b, "document.documentElement.scrollWidth"); got > width {
					t.Errorf("%s: the page is %d wide", where, got)
				}
				if pale := ask[[]string](b, paleTexts); len(pale) > 0 {
					t.Errorf("%s: not contrast enough: %q", where, pale)
				}
				if !ask[bool](b, `!document.title.includes("owned") && !document.querySelector("img, main style, main script") && document.querySelectorAll("main > .cards > .card").length === `+strconv.Itoa(c.cards)) {
					t.Errorf("%s: what somebody else wrote is part of the page", where)
				}
			}
		}
	}
	b.quiet()
}

// paleTexts are all texts of the page with less contrast than 4.5 to 1, as the
// guidelines for accessible web pages reckon it.
const paleTexts = `(() => {
	const parts = (c) => c.match(/[\d.]+/g).map(Number);
	const light = (c) => { const [r, g, b] = parts(c).map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b };
	const behind = (e) => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; if ((parts(c)[3] ?? 1) === 1) return c } return "rgb(255, 255, 255)" };
	const found = [];
	for (const e of document.body.querySelectorAll("*")) {
		const text = [...e.childNodes].filter((n) => n.nodeType === Node.TEXT_NODE).map((n) => n.data.trim()).join("");
		if (!text || !e.checkVisibility()) continue;
		const [a, b] = [light(getComputedStyle(e).color), light(behind(e))].sort((x, y) => y - x);
		if ((a + 0.05) / (b + 0.05) < 4.5) found.push(text);
	}
	return found;
})()`

// What a screen reader goes by.
func TestPageForScreenReaders(t *testing.T) {
	ctx := browser(t)
	b := newTab(ctx, t)
	b.do(chromedp.Navigate(serve(t, Config{Report: ugly})))
	b.until("the script", followed)
	for what, expression := range map[string]string{
		"a language":                   `document.documentElement.lang === "en"`,
		"one main part, one h1 in it":  `document.querySelectorAll("main h1").length === 1 && document.querySelectorAll("h1").length === 1`,
		"headings that skip no level":  `[...document.querySelectorAll("h1, h2, h3, h4")].map((h) => +h.tagName[1]).every((n, i, all) => i === 0 ? n === 1 : n <= all[i - 1] + 1)`,
		"each ID once":                 `(ids => new Set(ids).size === ids.length)([...document.querySelectorAll("[id]")].map((e) => e.id))`,
		"links that lead somewhere":    `[...document.querySelectorAll("a")].every((a) => document.getElementById(a.hash.slice(1)))`,
		"a link for each problem":      `document.querySelectorAll(".verdict a").length === document.querySelectorAll(".card.failed, .card.degraded").length`,
		"words for each colour":        `[...document.querySelectorAll(".card")].every((c) => c.querySelector(".badge").innerText.replace(/[✓!✗?]/, "").trim())`,
		"an alert when there is one":   `document.getElementById("contact").getAttribute("role") === "alert"`,
		"nothing that ticks read out":  `!/\d+ (s|min|h)\b/.test(document.querySelector("[role=status]").innerText)`,
		"everything within the screen": `[...document.querySelectorAll("main *")].every((e) => e.getBoundingClientRect().right <= innerWidth)`,
	} {
		if !ask[bool](b, expression) {
			t.Errorf("the page lacks %s: %s", what, expression)
		}
	}
	b.quiet()
}
