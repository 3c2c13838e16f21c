package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"framekeeper/internal/agentapi"
	"framekeeper/internal/images"
	"framekeeper/internal/status"
	"framekeeper/internal/text"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/frame"
)

// Gallery is a folder of stored images. Its errors are images.ErrNoImage, or what has
// failed.
type Gallery interface {
	Cameras() ([]string, error)
	Files(camera string) ([]images.File, error) // the newest first
	Size(camera, file string) int64             // bytes; 0: gone
	Read(camera, file string) ([]byte, images.File, error)
	// Thumbnail is an image as a JPEG that is not narrower than wanted.
	Thumbnail(ctx context.Context, camera, file string, width int) ([]byte, error)
}

// perPage is how many images a page shows.
const perPage = 48

// galleryView is a page of stored images as its template wants it.
type galleryView struct {
	sheet
	Camera  string // "": all of them
	Cameras []galleryLink
	Dates   []galleryLink
	Images  []galleryImage
	Newer   string // address of the page; "": none
	Older   string
	Shown   string // which of how many
}

type galleryLink struct {
	Address, Name, Count string
	Current              bool
}

type galleryImage struct{ Address, Time, ID, About string }

// registerGallery adds the pages of stored images.
func registerGallery(mux *http.ServeMux, cfg *Config, rendered *renderer) {
	g := &gallery{cfg.Gallery}
	mux.HandleFunc("GET /images", func(w http.ResponseWriter, _ *http.Request) {
		v, err := g.cameras(time.Now())
		g.show(w, rendered, v, err)
	})
	mux.HandleFunc("GET /images/{camera}", func(w http.ResponseWriter, r *http.Request) {
		v, err := g.page(r.PathValue("camera"), r.URL.Query().Get("date"), r.URL.Query().Get("page"), time.Now())
		g.show(w, rendered, v, err)
	})
	mux.HandleFunc("GET /images/{camera}/{file}", g.image)
}

type gallery struct{ Gallery }

func (*gallery) show(w http.ResponseWriter, rendered *renderer, v *galleryView, err error) {
	if err != nil {
		http.Error(w, err.Error(), galleryCode(err))
		return
	}
	rendered.show(w, "gallery", v)
}

func galleryCode(err error) int {
	if errors.Is(err, images.ErrNoImage) {
		return http.StatusNotFound
	}
	return http.StatusInternalServerError
}

// newGalleryView is a page that is made from a folder's names, of which there may be very
// many: it is not looked at again each second.
func newGalleryView(title string, now time.Time) *galleryView {
	v := &galleryView{sheet: newSheet(title, "", thisView, status.Healthy, now)}
	v.Seldom = 5000
	return v
}

// cameras is the page of all cameras with images.
func (g *gallery) cameras(now time.Time) (*galleryView, error) {
	names, err := g.Cameras()
	if err != nil {
		return nil, err
	}
	v := newGalleryView("Stored images", now)
	v.Up = []crumb{{"/", "All boxes"}}
	for _, name := range names {
		files, err := g.Files(name)
		if err != nil {
			return nil, err
		}
		v.Cameras = append(v.Cameras, galleryLink{Address: "/images/" + name, Name: name, Count: text.Count(len(files), "image")})
	}
	return v, nil
}

// page is one page of a camera's images, of all dates or of one.
func (g *gallery) page(name, date, number string, now time.Time) (*galleryView, error) {
	files, err := g.Files(name)
	if err != nil {
		return nil, err
	}
	at, err := strconv.Atoi(number)
	if err != nil || at < 1 || at > 1e6 {
		at = 1
	}
	v := newGalleryView(name, now)
	v.Camera, v.Dates = name, dates(name, files, date)
	v.Up = []crumb{{"/", "All boxes"}, {"/images", "Stored images"}}
	if date != "" {
		files = slices.DeleteFunc(files, func(f images.File) bool { return day(f) != date })
	}
	first := min((at-1)*perPage, len(files))
	last := min(first+perPage, len(files))
	address := func(page int) string { return "/images/" + name + "?date=" + date + "&page=" + strconv.Itoa(page) }
	if at > 1 {
		v.Newer = address(at - 1)
	}
	if last < len(files) {
		v.Older = address(at + 1)
	}
	v.Shown = fmt.Sprintf("%d to %d of %s, the newest first", min(first+1, last), last, text.Count(len(files), "image"))
	for _, f := range files[first:last] {
		v.Images = append(v.Images, galleryImage{
			Address: "/images/" + name + "/" + f.Name, Time: f.Captured.Format("2006-01-02 15:04:05.000"), ID: f.ID.String(),
			About: fmt.Sprintf("%s, %.0f KiB", encodingName(f.Encoding), float64(g.Size(name, f.Name))/1024),
		})
	}
	return v, nil
}

func encodingName(e frame.Encoding) string {
	if e == frame.Raw {
		return "bmp"
	}
	return string(e)
}

func day(f images.File) string { return f.Captured.Format(time.DateOnly) }

// dates are the days on which there are images, the newest first.
func dates(name string, files []images.File, current string) (all []galleryLink) {
	n := map[string]int{}
	for _, f := range files {
		n[day(f)]++
	}
	for i, f := range files {
		if d := day(f); i == 0 || d != day(files[i-1]) {
			all = append(all, galleryLink{Address: "/images/" + name + "?date=" + d, Name: d, Count: strconv.Itoa(n[d]), Current: d == current})
		}
	}
	return all
}

// image is one file, or a smaller JPEG of it.
func (g *gallery) image(w http.ResponseWriter, r *http.Request) {
	name, file := r.PathValue("camera"), r.PathValue("file")
	q, err := agentapi.ParseQuery(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if !camera.ValidName(name) {
		http.Error(w, images.ErrNoImage.Error(), http.StatusNotFound)
		return
	}
	var b []byte
	kind := "image/jpeg"
	if q.Width > 0 {
		b, err = g.Thumbnail(r.Context(), name, file, q.Width)
	} else {
		var f images.File
		b, f, err = g.Read(name, file)
		kind = "image/" + encodingName(f.Encoding)
	}
	if err != nil {
		http.Error(w, err.Error(), galleryCode(err))
		return
	}
	_ = patient(w, imageTime) // the visitor's line may be slow, and the image is in memory
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	_, _ = w.Write(b) //nolint:gosec // an image, with its type; the visitor may have left
}
