package web

import (
	"strconv"
	"strings"
	"time"

	"framekeeper/internal/status"
	"framekeeper/internal/telemetry"
	"framekeeper/internal/text"
)

// Report is what the pages show of the box at one moment.
type Report struct {
	status.Report
	Telemetry *telemetry.Sample  // nil before the first
	History   *telemetry.History // for charts; nil: there are none

	// What a program knows that is not on the box.
	Measured  time.Time            // when Telemetry came; zero: it is of this moment
	Heard     map[string]time.Time // by camera: when its agent last reported
	NoRequest map[string]string    // by camera: why it cannot be asked for a frame
}

// sheet is what all pages have.
type sheet struct {
	Title, Version string
	Print          string // of page.css and page.js
	Time           string
	From           string // who made it: "this box"
	Health         status.Health
	Up             []crumb // the pages above it, the nearest last
	Seldom         int     // milliseconds between two looks at it; 0: a second
}

func newSheet(title, version, from string, health status.Health, now time.Time) sheet {
	return sheet{Title: title, Version: version, Print: printOfPage(), Time: now.Format("2006-01-02 15:04:05 MST"), From: from, Health: health}
}

// thisBox is who makes the pages of a controller.
const thisBox = "this box"

// view is the page of a box as its template wants it.
type view struct {
	sheet
	Verdict    string
	Problems   []card // those of the following that somebody should look at
	Controller []card // what is wrong with itself and what it stands on; empty as a rule
	Redis      []card
	Cameras    []card
	Figures    []figure // of the box; nil: not measured yet
	Charts     []chart
	Timeline   timeline // the events
}

// card is one item. Its health is a class of the style sheet.
type card struct {
	status.Item
	Camera    string // whose pictures to show; "": none
	NoRequest string // why it cannot be asked for a frame; "" if it can
	Figures   []figure
	Charts    []chart
}

// Todo is the advice as a sentence.
func (c card) Todo() string {
	if c.Advice == "" {
		return ""
	}
	s := strings.ToUpper(c.Advice[:1]) + c.Advice[1:]
	switch {
	case c.Command != "":
		return s + ": "
	case strings.HasSuffix(s, "?"):
		return s
	default:
		return s + "."
	}
}

// mark is the sign of a health for who does not see colours.
func mark(h status.Health) string {
	switch h {
	case status.Healthy:
		return "✓"
	case status.Degraded:
		return "!"
	case status.Failed:
		return "✗"
	default:
		return "?"
	}
}

// view of the report at a time, with pictures or without.
func (r *Report) view(now time.Time, pictures bool) view {
	verdict := r.Judge(now)
	cameras := r.cards(verdict.Cameras, now)
	for i := range cameras {
		cameras[i].Charts = r.cameraCharts(cameras[i].Name, now)
		if pictures {
			cameras[i].Camera, cameras[i].NoRequest = cameras[i].Name, r.NoRequest[cameras[i].Name]
		}
	}
	return view{
		sheet: newSheet(r.Box, r.Version, thisBox, verdict.Health, now), Verdict: strings.ToUpper(string(verdict.Health[:1])) + string(verdict.Health[1:]),
		Problems: r.cards(verdict.Problems(), now), Controller: r.cards(verdict.Controller, now),
		Redis: r.cards(verdict.Redis, now), Cameras: append(cameras, r.cards(verdict.Orphaned, now)...),
		Figures: boxFigures(r.Telemetry), Charts: r.boxCharts(now),
	}
}

func (r *Report) cards(items []status.Item, now time.Time) []card {
	all := make([]card, len(items))
	for i, item := range items {
		all[i] = card{Item: item, Figures: r.figures(item.ID, now)}
	}
	return all
}

// figures are those of an item.
func (r *Report) figures(id string, now time.Time) []figure {
	switch name, isCamera := strings.CutPrefix(id, "camera-"); {
	case isCamera:
		return r.cameraFigures(name, now)
	case id == "redis" && !r.Link.Live:
		return []figure{{"state", r.Link.State}}
	case id == "redis":
		return []figure{{r.Link.State + " for", text.Lasting(now.Sub(r.Link.Since))}}
	case id == "redis-server":
		return known([]figure{
			{string(r.Redis.State) + " for", text.Lasting(now.Sub(r.Redis.Since))},
			{"restarts", strconv.Itoa(r.Redis.Restarts)}, {"restarts after a hang", some(r.Redis.Hangs)},
		})
	default:
		return nil
	}
}
