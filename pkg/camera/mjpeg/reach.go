package mjpeg

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"syscall"

	"framekeeper/pkg/camera"
)

// unreachable says why a request got no answer, in an operator's words where
// it is something an operator can mend. at has no user or password.
func unreachable(at *url.URL, err error) error {
	kind, says := camera.ErrNoDevice, ""
	var (
		dns     *net.DNSError
		timeout net.Error
		record  tls.RecordHeaderError
		unknown x509.UnknownAuthorityError
		host    x509.HostnameError
		op      *net.OpError
	)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		says = "nothing listens at " + at.Host
	case errors.As(err, &dns) && dns.IsNotFound:
		says = "there is no host " + at.Hostname()
	case errors.As(err, &op) && op.Op == "dial" && op.Timeout():
		says = fmt.Sprintf("%s cannot be reached within %v", at.Host, dialTimeout)
	case errors.As(err, &timeout) && timeout.Timeout():
		kind, says = camera.ErrNoData, fmt.Sprintf("the server takes the request and does not answer within %v", dialTimeout)
	case errors.As(err, &record):
		says = "the server does not speak TLS: write http:// for https://"
	case errors.As(err, &unknown):
		says = "tls: nobody this machine trusts has signed the server's certificate; add its authority to the system's (update-ca-certificates)"
	case errors.As(err, &host):
		says = "tls: the server's certificate is for another name than " + at.Hostname()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		says = fmt.Sprintf("%s closes the connection without an answer; does it speak %s?", at.Host, at.Scheme)
	default:
		return fmt.Errorf("%w: %w", kind, err)
	}
	return fmt.Errorf("%w: %s", kind, says)
}
