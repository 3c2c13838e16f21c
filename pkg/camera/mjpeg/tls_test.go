package mjpeg

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log"
	"math/big"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"framekeeper/pkg/camera"
)

// certificate makes one, signed by itself or by another.
func certificate(t *testing.T, template, parent *x509.Certificate, signer *ecdsa.PrivateKey) (tls.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber, template.NotBefore, template.NotAfter = big.NewInt(1), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, key
}

func serveTLS(t *testing.T, cfg *tls.Config, jpg []byte) string {
	t.Helper()
	s := httptest.NewUnstartedServer(streaming("multipart/x-mixed-replace", "--x\r\n\r\n", "", false, jpg))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = cfg
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL
}

// TestHTTPSOwnCertificate: a camera's own certificate that the system trusts is
// accepted whatever name is in it; one that is only
// signed by somebody trusted has to be for the camera's name.
func TestHTTPSOwnCertificate(t *testing.T) {
	jpg := picture(t, 1, 64, 48)
	own, _ := certificate(t, &x509.Certificate{Subject: pkix.Name{CommonName: "IPC"}, DNSNames: []string{"ipcam.local"}}, nil, nil)
	nameless, _ := certificate(t, &x509.Certificate{Subject: pkix.Name{CommonName: "127.0.0.1"}}, nil, nil)
	authority, key := certificate(t, &x509.Certificate{Subject: pkix.Name{CommonName: "CA"}, IsCA: true, BasicConstraintsValid: true}, nil, nil)
	signed, _ := certificate(t, &x509.Certificate{Subject: pkix.Name{CommonName: "other"}, DNSNames: []string{"other.local"}}, authority.Leaf, key)
	roots := x509.NewCertPool()
	for _, c := range []tls.Certificate{own, nameless, authority} {
		roots.AddCert(c.Leaf)
	}
	for _, c := range []struct {
		name string
		tls.Certificate
		accepted bool
	}{{"for another name", own, true}, {"without a name", nameless, true}, {"signed, for another name", signed, false}} {
		f, err := newFetcher(serveTLS(t, &tls.Config{Certificates: []tls.Certificate{c.Certificate}}, jpg))
		if err != nil {
			t.Fatal(err)
		}
		f.roots = roots
		ctx, cancel := context.WithCancel(t.Context())
		answer, err := f.get(ctx)
		if accepted := err == nil; accepted != c.accepted || !accepted && !errors.Is(err, camera.ErrRefused) {
			t.Errorf("%s: %v, want accepted: %v", c.name, err, c.accepted)
		}
		if err == nil {
			if got, _, err := NewSplitter(answer.Body, f.arrived).Next(nil); err != nil || !bytes.Equal(got, jpg) {
				t.Errorf("%s: %d bytes, %v", c.name, len(got), err)
			}
			_ = answer.Body.Close()
		}
		cancel()
		f.transport.CloseIdleConnections()
	}
}

// TestHTTPSOld: the reason says what to do about a camera that knows old TLS only.
func TestHTTPSOld(t *testing.T) {
	own, _ := certificate(t, &x509.Certificate{Subject: pkix.Name{CommonName: "cam"}}, nil, nil)
	certificates := []tls.Certificate{own}
	for name, cfg := range map[string]*tls.Config{
		"version": {Certificates: certificates, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11},
		"ciphers": {Certificates: certificates, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_256_CBC_SHA}},
	} {
		_, err := Open(t.Context(), config(serveTLS(t, cfg, nil)))
		if !errors.Is(err, camera.ErrRefused) || !strings.Contains(err.Error(), "firmware") {
			t.Errorf("an old %s gave %v", name, err)
		}
	}
}
