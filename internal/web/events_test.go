package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/rs/zerolog"

	"framekeeper/internal/events"
	"framekeeper/internal/status"
)

// chronicle is a log with so many events, an hour old and one second apart.
func chronicle(n int) *events.Log {
	nop := zerolog.Nop()
	l := events.NewLog("", func() *zerolog.Logger { return &nop })
	for i := range n {
		health := []status.Health{status.Healthy, status.Degraded, status.Failed}[i%3]
		l.Add(events.Event{
			TimeUS: time.Now().Add(-time.Hour).UnixMicro() + int64(i)*1e6, Kind: events.Camera, Camera: fmt.Sprintf("cam%d", i),
			Health: health, Text: fmt.Sprintf("cam%d <b>has</b> an event", i),
		})
	}
	return l
}

func TestEventsAnswer(t *testing.T) {
	l := chronicle(150)
	url := serve(t, Config{Report: good, Events: l.Since})
	for query, want := range map[string]int{
		"": 100, "?limit=1000": 150, "?limit=3": 3, "?since=2h&limit=1000": 150, "?since=1m": 0, "?since=" + time.Now().Add(-time.Hour).UTC().Add(140*time.Second).Format(time.RFC3339): 10,
	} {
		resp, body := get(t, http.MethodGet, url+"/api/v1/events"+query, "", "")
		var got eventsAnswer
		if err := json.Unmarshal([]byte(body), &got); err != nil || resp.StatusCode != http.StatusOK || got.Box != "box1" {
			t.Fatalf("%s: %s, %+v, %v", query, resp.Status, got, err)
		}
		if n := len(got.Events); n != want && n != want+1 {
			t.Errorf("%s: %d events, want %d", query, n, want)
		}
		if !slices.IsSortedFunc(got.Events, func(a, b events.Event) int { return int(b.TimeUS - a.TimeUS) }) {
			t.Errorf("%s: not the newest first", query)
		}
	}
	for query, want := range map[string]string{
		"?limit=0": `limit="0": expected 1 to 1000`, "?limit=x": "expected 1 to 1000", "?limit=1001": "expected 1 to 1000",
		"?since=yesterday": `since="yesterday": expected a time such as 2`, "?sinc=1h": `unknown parameter "sinc": there are since and limit`,
	} {
		resp, body := get(t, http.MethodGet, url+"/api/v1/events"+query, "", "")
		if resp.StatusCode != http.StatusBadRequest || !strings.Contains(body, want) {
			t.Errorf("%s: %s, %q, want %q", query, resp.Status, body, want)
		}
	}
}

// The timeline follows the box, shows the newest first, and stays open where the reader
// has opened it.
func TestTimelineInABrowser(t *testing.T) {
	ctx := browser(t)
	b, l := newTab(ctx, t), chronicle(25)
	var mu sync.Mutex
	list := func(since time.Time, limit int) []events.Event {
		mu.Lock()
		defer mu.Unlock()
		return l.Since(since, limit)
	}
	b.do(chromedp.Navigate(serve(t, Config{Report: good, Events: list})))
	b.until("the events", followed+` && document.querySelectorAll("ol.events")[0].children.length === 10`)
	if first := ask[string](b, `document.querySelector("ol.events li").innerText`); !strings.Contains(first, "cam24 <b>has</b> an event") {
		t.Errorf("the first event is %q", first)
	}
	ask[any](b, `document.querySelector("details.older summary").click()`)
	b.until("the earlier ones", `document.querySelector("details.older").open && document.querySelectorAll("ol.events")[1].children.length === 15`)
	l.Add(events.Event{TimeUS: time.Now().UnixMicro(), Kind: events.Outage, Health: status.Failed, Text: "Redis is away"})
	b.until("the new event", `document.querySelector("ol.events li.failed").innerText.includes("Redis is away")`)
	l.Add(events.Event{TimeUS: time.Now().UnixMicro(), Kind: events.Outage, Health: status.Failed, Text: "Redis is away"})
	b.until("that it repeats itself", `/2 times since \d\d:\d\d:\d\d/.test(document.querySelector("ol.events li").innerText)`)
	if !ask[bool](b, `document.querySelector("details.older").open && /^\d{4}-.*T/.test(document.querySelector("ol.events time").dateTime)`) {
		t.Error("what the reader has opened was closed, or a time is not for machines")
	}
	for _, width := range []int64{390, 1280} {
		for _, scheme := range []string{"light", "dark"} {
			b.do(chromedp.EmulateViewport(width, 800))
			b.scheme(scheme)
			if pale := ask[[]string](b, paleTexts); len(pale) > 0 {
				t.Errorf("%d wide, %s: not contrast enough: %q", width, scheme, pale)
			}
			if !ask[bool](b, `document.documentElement.scrollWidth <= innerWidth`) {
				t.Errorf("%d wide: the page is wider", width)
			}
			b.shoot(fmt.Sprintf("events-%d-%s", width, scheme))
		}
	}
	b.quiet()
}
