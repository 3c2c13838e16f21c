package mjpeg

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"

	"framekeeper/pkg/camera/identity"
)

// dialTLS connects and verifies the server's certificate.
func (f *fetcher) dialTLS(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	plain, err := f.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(plain, &tls.Config{
		ServerName:         host,
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection does it
		VerifyConnection:   func(s tls.ConnectionState) error { return identity.Verify(s.PeerCertificates, host, f.roots) },
	})
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, plain.Close())
	}
	return &lenientConn{Conn: conn}, nil
}

// isOldTLS reports whether client and server have no version or cipher in common.
func isOldTLS(err error) bool {
	for _, text := range []string{"tls: handshake failure", "tls: protocol version not supported", "tls: server selected unsupported protocol version"} {
		if strings.Contains(err.Error(), text) {
			return true
		}
	}
	return false
}
