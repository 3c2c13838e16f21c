// Package agentapi is the private channel between an agent and the programs of
// its own box: HTTP over a unix socket in state_dir/<camera>. It promises that
// only the agent's own user (and root) can talk to it, that a socket a killed
// agent left is replaced and an ended one's is gone, and that slow or greedy
// callers cannot hold the agent. It never changes what is on disk: settings
// made here last until the agent ends. The agent is the server, the controller
// the caller.
package agentapi

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	stdlog "log"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

// Server is the agent's end. Handle comes before Run; Run may be called once.
type Server struct {
	path     string
	listener net.Listener
	mux      *http.ServeMux
	log      zerolog.Logger
}

// Listen makes the socket. Whoever calls it must own the camera (its lock in
// state_dir): what is there under that name is taken for a dead agent's.
func Listen(ctx context.Context, path string, log zerolog.Logger) (*Server, error) {
	if err := removeSocket(path); err != nil {
		return nil, err
	}
	name, release, err := short(path)
	if err != nil {
		return nil, err
	}
	defer release()
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var failed error
		// Before the socket has its name, so that it never is anybody else's.
		err := raw.Control(func(fd uintptr) { failed = unix.Fchmod(int(fd), 0o600) }) //nolint:gosec // a descriptor is a small number
		return errors.Join(err, failed)
	}}
	l, err := lc.Listen(ctx, "unix", name)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // its name may have been a detour
	return &Server{path: path, listener: l, mux: http.NewServeMux(), log: log}, nil
}

// removeSocket removes a socket, and nothing else.
func removeSocket(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("look for an old socket: %w", err)
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s is there and is no socket: remove it", path)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("remove an old socket: %w", err)
	}
	return nil
}

// Handle serves a pattern of http.ServeMux, such as "GET /status".
func (s *Server) Handle(pattern string, h http.HandlerFunc) { s.mux.HandleFunc(pattern, h) }

// Run serves until ctx ends, lets the answers in hand go out, removes the
// socket and returns nil.
func (s *Server) Run(ctx context.Context) error {
	defer func() { _ = removeSocket(s.path) }() // a leftover is replaced at the next start
	server := &http.Server{
		Handler:           s.mux,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       30 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          stdlog.New(debugLog{s.log}, "", 0),
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(s.listener) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve %s: %w", s.path, err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 500*time.Millisecond)
	defer cancel()
	if err := server.Shutdown(grace); err != nil {
		_ = server.Close() // whoever is still there has had its time
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", s.path, err)
	}
	return nil
}

// Close removes the socket when Run was never called.
func (s *Server) Close() error {
	return errors.Join(s.listener.Close(), removeSocket(s.path))
}

// debugLog takes what net/http says about broken callers.
type debugLog struct{ log zerolog.Logger }

func (d debugLog) Write(p []byte) (int, error) {
	d.log.Debug().Str("part", "agent socket").Msg(string(p))
	return len(p), nil
}
