package controller

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/rs/zerolog"

	"framekeeper/internal/configfile"
	"framekeeper/internal/web"
)

// pagePart makes the web server; nil if there is to be none.
type pagePart struct {
	current *replaceable[*web.Server]
	report  func() web.Report
	metrics http.Handler
	cameras web.Cameras
	events  web.Events
}

// listen takes the page's address.
func (p *pagePart) listen(ctx context.Context, cfg *configfile.Config, log zerolog.Logger) (*web.Server, error) {
	s := cfg.Controller.Web
	if s.HTTP == "" {
		return nil, nil //nolint:nilnil // there is none, and nothing wrong
	}
	return web.Listen(ctx, web.Config{Settings: s, File: cfg.Path, Report: p.report, Metrics: p.metrics, Cameras: p.cameras, Events: p.events, Log: log})
}

func runPage(ctx context.Context, s *web.Server) error {
	if s == nil {
		return nil
	}
	return s.Run(ctx)
}

// prepare takes the page's address if it is another one. It comes last: what is in
// the way of 0.0.0.0:8080 may be our own page at 127.0.0.1:8080, which then has to
// go, and comes back if that was not all.
func (p *pagePart) prepare(ctx context.Context, c *change) (func() error, error) {
	old, next := c.old.Controller.Web, c.next.Controller.Web
	if next.HTTP == old.HTTP {
		return p.prepareSame(ctx, c)
	}
	page, err := p.listen(ctx, c.next, c.log)
	if errors.Is(err, web.ErrInUse) && port(next.HTTP) == port(old.HTTP) {
		p.current.stop()
		if page, err = p.listen(ctx, c.next, c.log); err != nil {
			back, gone := p.listen(ctx, c.old, c.oldLog)
			p.current.replace(back)
			err = errors.Join(err, gone)
		}
	}
	return func() error { p.current.replace(page); return nil }, err
}

// prepareSame is for a page whose address stays: it can be taken again only once
// the old one is closed.
func (p *pagePart) prepareSame(ctx context.Context, c *change) (func() error, error) {
	old, next, page := c.old.Controller.Web, c.next.Controller.Web, p.current.get()
	switch {
	case next.HTTP == "":
		return func() error { return nil }, nil
	case page != nil && old == next && c.newLog == nil && !page.PasswordChanged():
		return func() error { return nil }, web.Check(&next)
	}
	return func() error {
		p.current.stop()
		page, err := p.listen(ctx, c.next, c.log)
		p.current.replace(page)
		return err
	}, web.Check(&next)
}

func port(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }
