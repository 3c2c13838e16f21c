package web

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/files"
)

// lookInterval is how often the certificate's files are looked at, at most.
const lookInterval = time.Second

// certificate is the server's, read again when its files have changed. Files that do
// not fit, as they do for a moment while they are renewed, leave the old one in force.
type certificate struct {
	certFile, keyFile string
	log               zerolog.Logger

	inForce atomic.Pointer[pair]

	reading sync.Mutex // held by who looks; guards all below
	looked  time.Time
	refused string // why the files are not taken, to log it once
}

// pair is a certificate with its key, and the files' content that they are from.
type pair struct {
	tls.Certificate
	cert, key []byte
}

func readPair(certFile, keyFile string) (*pair, error) {
	cert, err := files.ReadSmall(certFile)
	if err != nil {
		return nil, fmt.Errorf("read http_tls_cert_file: %w", err)
	}
	key, err := files.ReadSmall(keyFile)
	if err != nil {
		return nil, fmt.Errorf("read http_tls_key_file: %w", err)
	}
	both, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("http_tls_cert_file %s and http_tls_key_file %s: %w", certFile, keyFile, err)
	}
	return &pair{both, cert, key}, nil
}

// secure has a listener speak TLS if the settings want it.
func secure(l net.Listener, cfg *Config) (net.Listener, error) {
	if cfg.HTTPTLSCertFile == "" {
		return l, nil
	}
	first, err := readPair(cfg.HTTPTLSCertFile, cfg.HTTPTLSKeyFile)
	if err != nil {
		return nil, err
	}
	c := &certificate{certFile: cfg.HTTPTLSCertFile, keyFile: cfg.HTTPTLSKeyFile, log: cfg.Log, looked: time.Now()}
	c.inForce.Store(first)
	return tls.NewListener(l, &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"http/1.1"}, // in HTTP/2 one connection has any number of visitors
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return &c.get(time.Now()).Certificate, nil
		},
	}), nil
}

// get is the certificate in force. A visitor may wait for the disk while it looks;
// the others do not.
func (c *certificate) get(now time.Time) *pair {
	if !c.reading.TryLock() {
		return c.inForce.Load()
	}
	defer c.reading.Unlock()
	old := c.inForce.Load()
	if now.Sub(c.looked) < lookInterval {
		return old
	}
	c.looked = now
	next, err := readPair(c.certFile, c.keyFile)
	switch {
	case err != nil && err.Error() != c.refused:
		c.refused = err.Error()
		c.log.Warn().Err(err).Msg("The page's certificate cannot be renewed; the old one stays in force")
	case err == nil && (!bytes.Equal(next.cert, old.cert) || !bytes.Equal(next.key, old.key)):
		c.inForce.Store(next)
		c.log.Info().Time("expires", next.Leaf.NotAfter).Msg("The page's certificate is renewed")
		fallthrough
	case err == nil:
		c.refused = ""
	}
	return c.inForce.Load()
}

// ClientTLS is for who asks this server on its own box, by an address that its
// certificate need not have: it accepts that certificate and no other. nil: no TLS.
func ClientTLS(s *Settings) (*tls.Config, error) {
	if s.HTTPTLSCertFile == "" {
		return nil, nil //nolint:nilnil // there is none, and nothing wrong
	}
	own, err := readPair(s.HTTPTLSCertFile, s.HTTPTLSKeyFile)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, //nolint:gosec // verified below
		VerifyConnection: func(state tls.ConnectionState) error {
			if !state.PeerCertificates[0].Equal(own.Leaf) {
				return fmt.Errorf("another certificate than that in %s", s.HTTPTLSCertFile)
			}
			return nil
		},
	}, nil
}
