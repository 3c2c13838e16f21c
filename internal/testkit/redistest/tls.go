package redistest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// TLSFiles are the PEM files of a throw-away CA and of the two certificates it
// signed: one for the server, one for a client.
type TLSFiles struct {
	CA         string
	ServerCert string
	ServerKey  string
	ClientCert string
	ClientKey  string
}

// NewTLSFiles makes a CA and its certificates in a directory of the test's own.
// The server's is valid for localhost, the loopback addresses and hosts. A
// second set is a CA that the server's clients have no reason to trust.
func NewTLSFiles(tb TB, hosts ...string) *TLSFiles {
	tb.Helper()
	f, err := newTLSFiles(tb.TempDir(), hosts...)
	if err != nil {
		tb.Fatalf("redistest: %v", err)
	}
	return f
}

// ClientConfig is what a client needs that trusts this CA and shows the client
// certificate.
func (f *TLSFiles) ClientConfig() (*tls.Config, error) {
	ca, err := os.ReadFile(f.CA)
	if err != nil {
		return nil, fmt.Errorf("read CA: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("read CA: no certificate in %s", f.CA)
	}
	pair, err := tls.LoadX509KeyPair(f.ClientCert, f.ClientKey)
	if err != nil {
		return nil, fmt.Errorf("load client certificate: %w", err)
	}
	return &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, nil
}

// authority is a CA that can sign.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newTLSFiles(dir string, hosts ...string) (*TLSFiles, error) {
	at := func(name string) string { return filepath.Join(dir, name) }
	f := &TLSFiles{CA: at("ca.crt"), ServerCert: at("server.crt"), ServerKey: at("server.key"),
		ClientCert: at("client.crt"), ClientKey: at("client.key")}

	root := template("redistest CA")
	root.IsCA, root.BasicConstraintsValid = true, true
	root.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	ca, err := issue(root, nil, f.CA, at("ca.key"))
	if err != nil {
		return nil, err
	}

	server := template("redistest server")
	server.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	server.DNSNames = []string{"localhost"}
	server.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			server.IPAddresses = append(server.IPAddresses, ip)
		} else {
			server.DNSNames = append(server.DNSNames, host)
		}
	}
	if _, err := issue(server, ca, f.ServerCert, f.ServerKey); err != nil {
		return nil, err
	}

	client := template("redistest client")
	client.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if _, err := issue(client, ca, f.ClientCert, f.ClientKey); err != nil {
		return nil, err
	}
	return f, nil
}

func template(name string) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{
		Subject:   pkix.Name{CommonName: name},
		NotBefore: now.Add(-48 * time.Hour), // wide on both sides: tests jump the clock
		NotAfter:  now.Add(48 * time.Hour),
		KeyUsage:  x509.KeyUsageDigitalSignature,
	}
}

// issue makes a key for the certificate, has ca sign it (nil: it signs itself)
// and writes both files.
func issue(cert *x509.Certificate, ca *authority, certFile, keyFile string) (*authority, error) {
	name := cert.Subject.CommonName
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key of %s: %w", name, err)
	}
	if cert.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)); err != nil {
		return nil, fmt.Errorf("make serial number of %s: %w", name, err)
	}
	if ca == nil {
		ca = &authority{cert: cert, key: key}
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, ca.cert, &key.PublicKey, ca.key)
	if err != nil {
		return nil, fmt.Errorf("sign certificate of %s: %w", name, err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode key of %s: %w", name, err)
	}
	if err := writePEM(certFile, "CERTIFICATE", der); err != nil {
		return nil, err
	}
	if err := writePEM(keyFile, "PRIVATE KEY", keyDER); err != nil {
		return nil, err
	}
	return &authority{cert: cert, key: key}, nil
}

func writePEM(path, kind string, der []byte) error {
	block := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	if err := os.WriteFile(path, block, 0o600); err != nil {
		return fmt.Errorf("write %s: %w", kind, err)
	}
	return nil
}
