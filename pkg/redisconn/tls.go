package redisconn

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// tlsConfig is read anew for every session, so that renewed certificates are
// picked up without a restart.
func tlsConfig(cfg Config, host string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host}
	if cfg.TLSCAFile != "" {
		pem, err := os.ReadFile(cfg.TLSCAFile)
		if err != nil {
			return nil, &ConfigError{fmt.Errorf("read tls_ca_file: %w", err)}
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, &ConfigError{errors.New("read tls_ca_file: no PEM certificate in " + cfg.TLSCAFile)}
		}
	}
	if cfg.TLSCertFile != "" {
		pair, err := tls.LoadX509KeyPair(cfg.TLSCertFile, cfg.TLSKeyFile)
		if err != nil {
			return nil, &ConfigError{fmt.Errorf("read tls_cert_file and tls_key_file: %w", err)}
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}
