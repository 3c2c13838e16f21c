package web

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"framekeeper/internal/status"
	"framekeeper/internal/text"
)

// crumb is a page above the one that is shown.
type crumb struct{ Address, Name string }

// cameraView is the page of one camera as its template wants it.
type cameraView struct {
	sheet
	Camera  card
	Details []figure
	Gallery string // address of its stored images; "": none
}

// registerCamera adds the page of each camera. boxes are all there are.
func registerCamera(mux *http.ServeMux, cfg *Config, rendered *renderer, boxes func() []Report) {
	mux.HandleFunc("GET /cameras/{name}", func(w http.ResponseWriter, r *http.Request) {
		name, now := r.PathValue("name"), time.Now()
		for _, box := range boxes() {
			v := box.view(now, cfg.Cameras != nil)
			i := slices.IndexFunc(v.Cameras, func(c card) bool { return c.Camera == name })
			if i < 0 {
				continue
			}
			page := cameraView{sheet: newSheet(name, box.Version, thisBox, v.Cameras[i].Health, now), Camera: v.Cameras[i], Details: box.details(name, now)}
			page.Up = []crumb{{"/", box.Box}}
			if cfg.Fleet != nil {
				page.From, page.Up = thisView, []crumb{{"/", "All boxes"}, {"/boxes/" + box.Box, box.Box}}
			}
			if cfg.Gallery != nil {
				page.Gallery = "/images/" + name
			}
			rendered.show(w, "camera", page)
			return
		}
		http.Error(w, "there is no camera of that name", http.StatusNotFound)
	})
}

// details are what a camera's agent last reported, if that still counts.
func (r *Report) details(name string, now time.Time) []figure {
	i := slices.IndexFunc(r.Agents, func(p status.Process) bool { return p.Name == name })
	if i < 0 {
		return nil
	}
	a := r.Reported(&r.Agents[i])
	if a == nil {
		return nil
	}
	all := []figure{
		{"source", a.Source}, {"host", a.Host}, {"version", a.Version},
		{"size", size(a.Capture.Width, a.Capture.Height)}, {"format", a.Capture.Format}, {"captured", number(&a.Capture.FPS, "frames/s")},
		{"published", published(a.Publish)}, {"delivery", a.Delivery}, {"encoding", a.Encoding},
		{"frames sent", strconv.FormatUint(a.Outbox.Sent, 10)}, {"waiting", some(a.Outbox.Unsent)},
		{"lost and declared", some(int(a.Outbox.Dropped))},
		{"requests answered", strconv.FormatUint(a.Requests.Answered, 10)}, {"with an error", some(int(a.Requests.Errors))},
		{"stalls", some(int(a.Capture.Stalls))}, {"reopened", some(int(a.Capture.Reopens))},
		{"Redis outages", some(int(a.Link.Outages))}, {"round trip", text.Milliseconds(time.Duration(a.Link.RTTUS) * time.Microsecond)},
	}
	if s := a.Spool; s != nil && s.Frames > 0 {
		all = append(all, figure{"on disk", fmt.Sprintf("%s, %.1f MiB", text.Count(s.Frames, "frame"), float64(s.Bytes)/(1<<20))})
	}
	if o := a.Link.LastOutage; o != nil {
		all = append(all, figure{"last outage", fmt.Sprintf("%s, for %s", o.Cause, text.Lasting(time.Duration(o.LastedS*float64(time.Second))))})
	}
	if heard := r.Heard[name]; !heard.IsZero() {
		all = append(all, figure{"reported", text.Lasting(now.Sub(heard)) + " ago"})
	}
	return known(all)
}

func size(w, h int) string {
	if w == 0 || h == 0 {
		return ""
	}
	return fmt.Sprintf("%d × %d", w, h)
}

func published(fps float64) string {
	if fps == 0 {
		return "on request only"
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", fps), ".0") + " frames/s"
}
