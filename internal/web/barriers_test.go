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
				b.shoot(fmt.Sprintf("state-%s-%d-%s", name, width, scheme))
			}
		}
	}
	b.quiet()
}
