// Package agentapi is the API of an agent for the programs of its own box, pictures,
// requests, metrics and live settings: HTTP over a unix socket in state_dir/<camera>,
// and over another that the controller hands to the agent at its start. It promises
// that only the agent's own user (and root) can call it, that the socket of a
// killed agent is replaced and that of an ended one is gone, and that slow or
// greedy clients cannot hold the agent. It never changes what is on disk: settings
// made here last until the agent ends. The agent is the server, the controller the
// client.
//
// Why a long path leads through /proc/self/fd: a socket's name is limited to 108
// bytes, and state_dir is not.
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
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

// maxPath is how long a socket's name may be in Linux, without the final zero.
const maxPath = 107

// Path is the socket of a camera's agent.
func Path(stateDir, camera string) string { return filepath.Join(stateDir, camera, "agent.sock") }

// Server is the agent's end. Handle comes before Run; Run may be called once.
type Server struct {
	path     string // "": it has no name to remove
	listener net.Listener
	mux      *http.ServeMux
	log      zerolog.Logger
}

// Listen makes the socket. Its caller must have the camera's lock in state_dir: a
// socket that is there already counts as a dead agent's.
func Listen(ctx context.Context, path string, log zerolog.Logger) (*Server, error) {
	if err := removeSocket(path); err != nil {
		return nil, err
	}
	name, release, err := shortName(path)
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
	return newServer(path, l, log), nil
}

func newServer(path string, l net.Listener, log zerolog.Logger) *Server {
	return &Server{path: path, listener: l, mux: http.NewServeMux(), log: log}
}

// removeSocket removes a socket, and nothing else.
func removeSocket(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("check for an old socket: %w", err)
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
	defer func() { _ = s.remove() }() // one that stays is replaced at the next start
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
		_ = server.Close() // the clients have had their time
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", s.path, err)
	}
	return nil
}

// Close removes the socket when Run was never called.
func (s *Server) Close() error {
	return errors.Join(s.listener.Close(), s.remove())
}

func (s *Server) remove() error {
	if s.path == "" {
		return nil
	}
	return removeSocket(s.path)
}

// debugLog takes what net/http reports of broken clients.
type debugLog struct{ log zerolog.Logger }

func (d debugLog) Write(p []byte) (int, error) {
	d.log.Debug().Str("part", "agent socket").Msg(string(p))
	return len(p), nil
}

// shortName is a socket's name in a form the kernel takes: a long one leads through
// an open descriptor of its directory. release is to be called when the name is not
// used any more.
func shortName(path string) (name string, release func(), err error) {
	if len(path) <= maxPath {
		return path, func() {}, nil
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return "", nil, fmt.Errorf("open the socket's directory: %w", err)
	}
	name = filepath.Join("/proc/self/fd", strconv.Itoa(int(dir.Fd())), filepath.Base(path)) //nolint:gosec // a descriptor is a small number
	return name, func() { _ = dir.Close() }, nil
}
