// Package web serves the box's own pages: pictures and requests below /cameras,
// /healthz, /readyz and /metrics for machines and / for people; and the same for all
// boxes of a Redis, with the images that are stored on a host. It promises that everything
// it shows is escaped, that a set user name
// guards every page, that without one no foreign web page can read it, and that
// slow or greedy visitors cannot hold the program.
// Nobody changes the box here, but a request makes a frame. Its callers are the controller,
// which shows itself (Config.Report), and package view (Config.Fleet).
//
// Why the page is whole without its script: the script only fetches it again and
// changes what differs. Style and script stand in the page and are allowed by
// their hashes, so that nothing else can be run or fetched. What it shows counts
// as old after an answer that fails, or 9 s without one.
package web

import (
	"context"
	"errors"
	"fmt"
	"framekeeper/internal/web/access"
	stdlog "log"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/files"
)

// Config of a Server.
type Config struct {
	Settings        // the password file is read once, when the server is made
	File     string // the configuration, to be named in errors
	Report   func() Report
	Fleet    func() Fleet // of many boxes, in the place of Report; nil: there is one
	Metrics  http.Handler // serves /metrics; nil: there are none
	Cameras  Cameras      // nil: there are no pictures
	Gallery  Gallery      // stored images; nil: there are none
	Events   Events       // nil: there are none
	Log      zerolog.Logger
}

// Server is the box's HTTP server. Run may be called once.
type Server struct {
	cfg      Config
	password string
	listener net.Listener
	server   *http.Server
	pictures *pictures // nil: there are none
	stop     func()    // ends the streams
}

// Listen takes the address and prepares the pages. Visitors wait until Run.
func Listen(ctx context.Context, cfg Config) (*Server, error) {
	streams, stop := context.WithCancel(context.WithoutCancel(ctx))
	var shown *pictures
	if cfg.Cameras != nil {
		shown = newPictures(streams, cfg.Cameras)
	}
	handler, password := pages(cfg, shown), ""
	if cfg.HTTPUser != "" {
		var err error
		if password, err = ReadPassword(cfg.HTTPPasswordFile); err != nil {
			stop()
			return nil, err
		}
		handler = basicAuth(cfg.HTTPUser, password, newThrottle(cfg.Log), handler)
	} else {
		handler = ownNames(handler)
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", cfg.HTTP)
	if err != nil {
		stop()
		return nil, explain(&cfg, err)
	}
	encrypted, err := secure(listener, &cfg)
	if err != nil {
		stop()
		return nil, errors.Join(err, listener.Close())
	}
	return &Server{
		cfg:      cfg,
		password: password,
		listener: encrypted,
		pictures: shown,
		stop:     stop,
		server: &http.Server{
			Handler:           secured(handler),
			ReadHeaderTimeout: 5 * time.Second,
			ReadTimeout:       10 * time.Second,
			WriteTimeout:      10 * time.Second,
			IdleTimeout:       30 * time.Second,
			MaxHeaderBytes:    16 << 10,
			ConnState:         newVisitors().limit,
			ErrorLog:          stdlog.New(debugLog{cfg.Log}, "", 0),
			ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
				return context.WithValue(ctx, connKey{}, conn)
			},
		},
	}, nil
}

// ErrInUse says that somebody else listens there.
var ErrInUse = errors.New("another program uses this address")

// explain says what to do about an address that cannot be had.
func explain(cfg *Config, err error) error {
	addr, setting := cfg.HTTP, "[controller] http in "+cfg.File
	if cfg.Fleet != nil {
		setting = "--listen"
	}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("listen on %s: %w: end it, or set %s to a free one", addr, ErrInUse, setting)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("listen on %s: not permitted: set %s to a port above 1023", addr, setting)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("listen on %s: not an address of this machine: correct %s", addr, setting)
	default:
		return fmt.Errorf("listen on %s: %w: check %s", addr, err, setting)
	}
}

// Check says whether Listen could read the files that the settings name.
func Check(s *Settings) error {
	var err error
	if s.HTTPUser != "" {
		_, err = ReadPassword(s.HTTPPasswordFile)
	}
	if s.HTTPTLSCertFile != "" {
		_, failed := readPair(s.HTTPTLSCertFile, s.HTTPTLSKeyFile)
		err = errors.Join(err, failed)
	}
	return err
}

// PasswordChanged says whether the password file holds another password by now.
func (s *Server) PasswordChanged() bool {
	if s.cfg.HTTPUser == "" {
		return false
	}
	password, err := ReadPassword(s.cfg.HTTPPasswordFile)
	return err == nil && password != s.password
}

// ReadPassword is the password in an http_password_file.
func ReadPassword(file string) (string, error) {
	b, err := files.ReadSmall(file)
	if err != nil {
		return "", fmt.Errorf("read http_password_file: %w", err)
	}
	password := strings.TrimRight(string(b), "\r\n")
	if password == "" {
		return "", fmt.Errorf("read http_password_file: %s is empty", file)
	}
	return password, nil
}

// Addr is the address in use, with the real port if 0 was asked for.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Run serves until ctx ends, lets the answers in hand go out, and returns nil.
func (s *Server) Run(ctx context.Context) error {
	if s.pictures != nil {
		defer s.pictures.feeds.running.Wait()
	}
	defer s.stop()
	ended := make(chan error, 1)
	go func() { ended <- s.server.Serve(s.listener) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve HTTP: %w", err)
	case <-ctx.Done():
	}
	s.stop()
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := s.server.Shutdown(grace); err != nil {
		_ = s.server.Close() // whoever is still there has had its time
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve HTTP: %w", err)
	}
	return nil
}

// Close gives the address back when Run was never called.
func (s *Server) Close() error {
	s.stop()
	if err := s.listener.Close(); err != nil {
		return fmt.Errorf("close HTTP listener: %w", err)
	}
	return nil
}

// debugLog takes what net/http says about broken visitors.
type debugLog struct{ log zerolog.Logger }

func (d debugLog) Write(p []byte) (int, error) {
	d.log.Debug().Str("part", "http").Msg(strings.TrimSpace(string(p)))
	return len(p), nil
}

// ownNames lets a request through that names the page by an address or by a name
// without a dot (localhost, the box's own). Any other name may have been made to
// mean this box by somebody whose web page then reads ours, in the browser of a
// visitor that sits here: it is of the same origin.
func ownNames(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !ownName(r.Host) {
			http.Error(w, "without http_user the page answers only to the box's address or localhost "+
				"(a proxy can send Host: localhost)", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func ownName(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.ToLower(strings.TrimSuffix(strings.Trim(name, "[]"), "."))
	return !strings.Contains(name, ".") || strings.HasSuffix(name, ".localhost") || net.ParseIP(name) != nil
}

// Settings say where the page is and who may see it.
type Settings = access.Settings
