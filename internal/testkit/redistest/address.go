package redistest

import (
	"net"
	"net/url"
	"strconv"
)

// Port is the TCP port, 0 with WithUnixSocket.
func (s *Server) Port() int { return s.port }

// Addr is host:port, or the socket's path with WithUnixSocket.
func (s *Server) Addr() string {
	if s.set.unixSocket {
		return s.files.socket
	}
	return net.JoinHostPort(s.host(), strconv.Itoa(s.port))
}

// host is the address that clients dial.
func (s *Server) host() string {
	switch s.set.bind {
	case "0.0.0.0", "*":
		return "127.0.0.1"
	case "::":
		return "::1"
	}
	return s.set.bind
}

// probeAddr is where a starting server is tried for its first connection. One
// in another namespace is tried on its unix socket, which opens right after the
// TCP port and cannot be black-holed.
func (s *Server) probeAddr() (network, addr string) {
	if s.set.unixSocket || s.set.host != nil {
		return "unix", s.files.socket
	}
	return "tcp", s.Addr()
}

// URL is the server's address as config.toml wants it, without credentials.
func (s *Server) URL() string {
	u := url.URL{Scheme: "redis", Host: s.Addr(), Path: "/0"}
	switch {
	case s.set.unixSocket:
		u = url.URL{Scheme: "unix", Path: s.files.socket}
	case s.certs != nil:
		u.Scheme = "rediss"
	}
	return u.String()
}

// Socket is the unix socket on which every server listens too.
func (s *Server) Socket() string { return s.files.socket }

// Dir is the server's working directory, removed when the test ends.
func (s *Server) Dir() string { return s.files.dir }

// TLS returns the certificates of a server with WithTLS or WithMutualTLS, else nil.
func (s *Server) TLS() *TLSFiles { return s.certs }
