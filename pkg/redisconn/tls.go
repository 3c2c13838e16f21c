package redisconn

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"syscall"

	"framekeeper/internal/files"
)

// tlsConfig is read anew for every session, so that renewed certificates are
// picked up without a restart.
func tlsConfig(cfg Config, host string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host}
	if cfg.TLSCAFile != "" {
		pem, err := readPEM("tls_ca_file", cfg.TLSCAFile)
		if err != nil {
			return nil, err
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, &ConfigError{errors.New("read tls_ca_file: no PEM certificate in " + cfg.TLSCAFile)}
		}
	}
	if cfg.TLSCertFile != "" {
		cert, err := readPEM("tls_cert_file", cfg.TLSCertFile)
		if err != nil {
			return nil, err
		}
		key, err := readPEM("tls_key_file", cfg.TLSKeyFile)
		if err != nil {
			return nil, err
		}
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			return nil, &ConfigError{fmt.Errorf("read tls_cert_file and tls_key_file: %w", err)}
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

func readPEM(key, file string) ([]byte, error) {
	pem, err := files.ReadSmall(file)
	if err != nil {
		return nil, &ConfigError{fmt.Errorf("read %s: %w", key, err)}
	}
	return pem, nil
}

// secureConn is a TLS connection that says so when its peer ends it before the
// first reply. In TLS 1.3 that is how a refused client certificate looks: the
// handshake was complete for us, and the reset may overtake the alert.
type secureConn struct {
	*tls.Conn
	heard atomic.Bool // something was read
}

// handshake makes c secure. The caller closes c when it fails.
func handshake(ctx context.Context, c net.Conn, conf *tls.Config) (net.Conn, error) {
	s := &secureConn{Conn: tls.Client(c, conf)}
	err := s.HandshakeContext(ctx)
	switch {
	case err == nil:
		return s, nil
	case errors.Is(err, context.DeadlineExceeded):
		// A plain redis-server waits for the end of what it takes for a command.
		return nil, &TLSError{fmt.Errorf("no answer, from a frozen server or one that does not speak TLS: %w", err)}
	default:
		return nil, &TLSError{err}
	}
}

func (s *secureConn) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	if n > 0 {
		s.heard.Store(true)
	}
	return n, s.explain(err)
}

func (s *secureConn) Write(p []byte) (int, error) {
	n, err := s.Conn.Write(p)
	return n, s.explain(err)
}

func (s *secureConn) explain(err error) error {
	if err == nil || s.heard.Load() ||
		!errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
		return err
	}
	// go-redis takes one layer off an error that its greeting meets.
	return fmt.Errorf("%w", &CauseError{
		CauseTLS, fmt.Errorf("connection ended right after the TLS handshake, was our certificate refused?: %w", err),
	})
}
