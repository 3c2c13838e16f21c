package mjpeg

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"
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
		VerifyConnection:   func(s tls.ConnectionState) error { return f.verify(s.PeerCertificates, host) },
	})
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, plain.Close())
	}
	return &lenientConn{Conn: conn}, nil
}

// verify accepts what TLS clients do, and besides a certificate for any name that is
// among those that the system trusts itself, and not only signed by one of them.
// Cameras make their own, nearly always for another name than the one they are
// reached by; whoever has added it to the system's has said whose it is.
func (f *fetcher) verify(certificates []*x509.Certificate, host string) error {
	options := x509.VerifyOptions{Roots: f.roots, Intermediates: x509.NewCertPool(), DNSName: host}
	for _, c := range certificates[1:] {
		options.Intermediates.AddCert(c)
	}
	_, err := certificates[0].Verify(options)
	if otherName := (x509.HostnameError{}); errors.As(err, &otherName) {
		options.DNSName = ""
		if chains, e := certificates[0].Verify(options); e == nil && len(chains[0]) == 1 {
			return nil
		}
	}
	return err
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
