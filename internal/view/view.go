// Package view serves the pages of all boxes and cameras of one Redis: what
// `client view` does. It reads what agents and controllers publish of themselves, shows
// pictures that are in Redis anyway, and changes nothing there but by a request that a
// visitor makes.
//
// It promises that a camera nobody looks at costs Redis its status and no picture, and
// one that somebody looks at one newest frame a second, however many look; that what
// it shows while Redis is away is marked as old; and that a right it does not have
// switches one thing off, which the page names.
//
//	status:*  ──SCAN, GET──►┐
//	status/*  ──SUBSCRIBE──►├─ fleet ──► reports ──► pages
//	*_log     ─PSUBSCRIBE──►┘
//	frames:*  ──XREVRANGE──►── pictures ──► tiles
//	stream/*  ──SUBSCRIBE──►┘     (delivery pubsub; requests)
package view

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/images"
	"framekeeper/internal/status"
	"framekeeper/internal/web"
	"framekeeper/internal/web/access"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/redisconn"
)

// Options say what is shown, and where.
type Options struct {
	Redis   redisconn.Config
	Cameras []camera.Config // whose names on Redis are not the default ones; complete
	Only    []string        // the cameras to show; nil: all there are
	Web     access.Settings
	Images  string // a folder of stored images to show; "": none
	Client  status.Client
	Version string
	Log     zerolog.Logger
}

// maxStatus is longer than any agent's status and any box's telemetry, in bytes.
const maxStatus = 1 << 20

// View is a server that has its address and does not run yet.
type View struct {
	link *datatransfer.Link
	page *web.Server

	folder *images.Folder // nil: none is shown
}

// Listen takes the address. Visitors wait until Run.
func Listen(ctx context.Context, o Options) (*View, error) {
	f := newFleet(&o)
	p := newPictures(f)
	v := &View{}
	v.link = datatransfer.NewLink(datatransfer.LinkConfig{
		Redis: o.Redis, Name: "client", Log: o.Log, MaxMessage: maxStatus, MaxReply: maxStatus,
		Workers: []datatransfer.Worker{
			{Name: "statuses", Run: f.watch}, {Name: "telemetry", Run: f.listen}, {Name: "pictures", Run: p.serve},
		},
	})
	f.link = v.link.Status
	cfg := web.Config{Settings: o.Web, Fleet: f.reports, Cameras: p, Log: o.Log}
	if o.Images != "" {
		folder, err := images.OpenFolder(o.Images)
		if err != nil {
			return nil, err
		}
		v.folder = folder
		cfg.Gallery = &gallery{folder, p}
	}
	var err error
	if v.page, err = web.Listen(ctx, cfg); err != nil {
		return nil, errors.Join(err, v.close())
	}
	return v, nil
}

// Addr is the address in use.
func (v *View) Addr() string { return v.page.Addr() }

// Run serves until ctx ends, whether Redis is there or not.
func (v *View) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var running sync.WaitGroup
	defer func() { running.Wait(); _ = v.close() }() // only read from
	running.Go(func() {
		defer cancel()
		_ = v.link.Run(ctx) // it has no Admit to refuse; should it end all the same, so does the page
	})
	return v.page.Run(ctx)
}

func (v *View) close() error {
	if v.folder == nil {
		return nil
	}
	return v.folder.Close()
}

// nearly is how old something may be that is shown without its age.
const nearly = 15 * time.Second
