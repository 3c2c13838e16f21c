package identity

import (
	"crypto/x509"
	"errors"
)

// Verify accepts what TLS clients do, and besides a certificate for any name that is
// among those that the system trusts itself, and not only signed by one of them.
// Cameras make their own, nearly always for another name than the one they are
// reached by; whoever has added it to the system's has said whose it is. Roots are who may sign; nil:
// the system's.
func Verify(certificates []*x509.Certificate, host string, roots *x509.CertPool) error {
	options := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool(), DNSName: host}
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
