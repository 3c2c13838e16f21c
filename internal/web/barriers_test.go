package web

import (
	"fmt"
	"testing"

	"github.com/chromedp/chromedp"

	"framekeeper/internal/status"
)

// states are what a box's page can have to tell.
func states() map[string]func(*Report) {
	return map[string]func(*Report){
		"healthy": func(*Report) {},
		"degraded": func(r *Report) {
			r.Reload = &status.Reload{Refused: true, Problem: "config.toml:3: redis.nonsense: unknown key"}
		},
		"failed": func(r *Report) { r.Seen["cam1"] = reports("stalled", "no frames for 2 s") },
		"without Redis": func(r *Report) {
			r.Link = status.Link{State: "DOWN", Cause: "refused: connection refused", Advice: "start Redis"}
		},
		"ugly": func(r *Report) { *r = ugly() },
	}
}

func namesOf(r Report) (names []string) {
	for _, p := range r.Agents {
		names = append(names, p.Name)
	}
	return names
}

// axe-core finds nothing serious, whatever the page tells, on each screen and in each
// colour scheme.
func TestPageHasNoBarriers(t *testing.T) {
	ctx := browser(t)
	b, box, s := newTab(ctx, t), newBoard(), newStudio(append(namesOf(ugly()), "cam1")...)
	b.NeedAxe()
	s.tick()
	s.run(t, 5)
	url := serve(t, Config{Report: box.report, Cameras: s})
	for name, change := range states() {
		box.change(change)
		for _, width := range []int64{390, 1280} {
			for _, scheme := range []string{"light", "dark"} {
				b.scheme(scheme)
				b.do(chromedp.EmulateViewport(width, 844), chromedp.Navigate(url))
				b.until("the script", followed)
				ask[any](b, `document.querySelectorAll("details").forEach((d) => d.open = true)`)
				for _, barrier := range b.Barriers() {
					t.Errorf("%s, %d wide, %s: %s", name, width, scheme, barrier)
				}
				if faint := ask[[]string](b, faintFocus); len(faint) > 0 {
					t.Errorf("%s, %d wide, %s: the focus can hardly be seen on %q", name, width, scheme, faint)
				}
				b.shoot(fmt.Sprintf("state-%s-%d-%s", name, width, scheme))
			}
		}
	}
	b.quiet()
}

// faintFocus are all things with a mark of the focus that has less contrast to what is
// around it than 3 to 1.
const faintFocus = `(() => {
	const parts = (c) => c.match(/[\d.]+/g).map(Number);
	const light = (c) => { const [r, g, b] = parts(c).map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b };
	const behind = (e) => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; if ((parts(c)[3] ?? 1) === 1) return c } return getComputedStyle(document.body).backgroundColor };
	return [...document.querySelectorAll("a, summary, button, input")].filter((e) => {
		if (!e.checkVisibility()) return false;
		e.focus({focusVisible: true});
		const style = getComputedStyle(e);
		const [a, b] = [light(style.outlineColor), light(behind(e.parentElement))].sort((x, y) => y - x);
		return style.outlineStyle === "none" || (a + 0.05) / (b + 0.05) < 3;
	}).map((e) => e.outerHTML);
})()`
