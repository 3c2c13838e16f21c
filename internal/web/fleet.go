package web

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"framekeeper/internal/status"
	"framekeeper/internal/text"
)

// Fleet is what the pages show of all boxes of a Redis at one moment.
type Fleet struct {
	Version string
	Link    status.Link // the program's own
	Off     []string    // what is switched off, and why
	Boxes   []Report
}

// ranks are in the order of what somebody should look at first.
var ranks = []status.Health{status.Failed, status.Unknown, status.Degraded, status.Healthy} //nolint:gochecknoglobals // a constant table

// overview is the page of all boxes as its template wants it.
type overview struct {
	sheet
	Link         *card // if it does not work
	Off          []string
	Query        string
	Only         status.Health // the health that is shown; "": all
	Counts       []healthCount
	Boxes        []boxTile // the worst first
	Shown, Total int       // cameras
	Gallery      bool
	Figures      []figure
}

// healthCount is how many cameras have a health, and the address that shows them alone.
type healthCount struct {
	Health  status.Health
	N       int
	Address string
	Current bool
}

// boxTile is a box of the overview.
type boxTile struct {
	Name    string
	Health  status.Health // of the worst camera
	Figures []figure
	Cameras []card
}

// thisView is who makes the pages of a fleet.
const thisView = "client view"

// overview of the fleet, for a query.
func (f *Fleet) overview(query url.Values, now time.Time, gallery bool) overview {
	o := overview{Off: f.Off, Query: query.Get("q"), Only: status.Health(query.Get("health")), Gallery: gallery}
	if !f.Link.Live {
		r := Report{Report: status.Report{Head: status.Head{Link: f.Link}}}
		o.Link = &r.cards(r.Judge(now).Redis, now)[0]
	}
	words, n, worst := strings.Fields(strings.ToLower(o.Query)), map[status.Health]int{}, status.Healthy
	for i := range f.Boxes {
		box := &f.Boxes[i]
		tile := boxTile{Name: box.Box, Health: status.Healthy, Figures: box.shortFigures(now)}
		for _, c := range box.tiles(now) {
			o.Total++
			if !c.matches(box.Box, words) {
				continue
			}
			n[c.Health]++
			if o.Only != "" && o.Only != c.Health {
				continue
			}
			o.Shown++
			tile.Cameras = append(tile.Cameras, c)
			tile.Health = worse(tile.Health, c.Health)
		}
		if len(tile.Cameras) > 0 || o.Only == "" && len(words) == 0 {
			o.Boxes = append(o.Boxes, tile)
		}
		worst = worse(worst, tile.Health)
	}
	slices.SortFunc(o.Boxes, func(a, b boxTile) int {
		return cmp.Or(slices.Index(ranks, a.Health)-slices.Index(ranks, b.Health), cmp.Compare(a.Name, b.Name))
	})
	for _, h := range ranks {
		o.Counts = append(o.Counts, healthCount{Health: h, N: n[h], Address: o.address(h), Current: o.Only == h})
	}
	if o.Link != nil {
		worst = status.Failed
	}
	o.sheet = newSheet("All boxes", f.Version, thisView, worst, now)
	return o
}

// address is that of the page with the cameras of one health alone, or with all
// again if it is that already.
func (o *overview) address(h status.Health) string {
	v := url.Values{}
	if o.Query != "" {
		v.Set("q", o.Query)
	}
	if o.Only != h {
		v.Set("health", string(h))
	}
	return "/?" + v.Encode()
}

func worse(a, b status.Health) status.Health {
	return ranks[min(slices.Index(ranks, a), slices.Index(ranks, b))]
}

// tiles are a box's cameras, the worst first.
func (r *Report) tiles(now time.Time) []card {
	all := make([]card, 0, len(r.Agents))
	for _, item := range r.Judge(now).Cameras {
		all = append(all, card{Item: item, Camera: item.Name})
	}
	slices.SortStableFunc(all, func(a, b card) int { return slices.Index(ranks, a.Health) - slices.Index(ranks, b.Health) })
	return all
}

// matches reports whether each of the words is found in what is shown of a camera.
func (c *card) matches(box string, words []string) bool {
	shown := strings.ToLower(strings.Join([]string{box, c.Name, string(c.Health), c.Summary, c.Why()}, " "))
	return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(shown, w) })
}

// shortFigures are those of a box's own that fit on a line.
func (r *Report) shortFigures(now time.Time) []figure {
	t := r.Telemetry
	if t == nil {
		return nil
	}
	all := known([]figure{{"CPU", number(t.CPU, "%")}, {"temperature", number(t.Temperature, "°C")}, {"disk", number(t.Disk, "%")}})
	if old := now.Sub(r.Measured); old > oldFigures {
		all = append(all, figure{"measured", text.Lasting(old) + " ago"})
	}
	return all
}

// oldFigures is the age from which figures are shown with it.
const oldFigures = 30 * time.Second

// registerFleet adds the pages of many boxes.
func registerFleet(mux *http.ServeMux, cfg *Config, rendered *renderer) {
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		f := cfg.Fleet()
		rendered.show(w, "overview", f.overview(r.URL.Query(), time.Now(), cfg.Gallery != nil))
	})
	mux.HandleFunc("GET /boxes/{name}", func(w http.ResponseWriter, r *http.Request) {
		f, name := cfg.Fleet(), r.PathValue("name")
		i := slices.IndexFunc(f.Boxes, func(b Report) bool { return b.Box == name })
		if i < 0 {
			http.Error(w, "this Redis has no box of that name", http.StatusNotFound)
			return
		}
		v := f.Boxes[i].view(time.Now(), true)
		v.From, v.Up = thisView, []crumb{{"/", "All boxes"}}
		rendered.show(w, "box", v)
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		f := cfg.Fleet()
		answer(w, cfg.Log, true, status.Alive{OK: true, Controller: thisView, Version: f.Version, Reasons: []string{}})
	})
}
