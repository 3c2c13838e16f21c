package rtsp

import (
	"crypto/tls"
	"encoding/pem"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A camera with TLS is spoken to if the system trusts its certificate, whatever name
// that has.
func TestTLS(t *testing.T) {
	server := httptest.NewTLSServer(nil) // for its certificate
	defer server.Close()
	file := filepath.Join(t.TempDir(), "trusted.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SSL_CERT_FILE", file) // is read once: no other test of this package needs it
	f := &fake{}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: server.TLS.Certificates, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		for conn, err := l.Accept(); err == nil; conn, err = l.Accept() {
			f.converse(conn, func(request string) string {
				if header(request, "Authorization") == "" {
					return digest
				}
				return fine
			})
		}
	}()
	defer func() { _ = l.Close(); <-served }()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	for _, host := range []string{"127.0.0.1", "localhost"} {
		r := open(t, "rtsps://"+user+":"+password+"@"+host+":"+port+"/live")
		if m, err := ask(t, client(t, r), "DESCRIBE", r.URL(), 1); err != nil || m.status() != 200 {
			t.Errorf("%s: got %q, %v", host, m.bytes(), err)
		}
		_ = r.Close()
	}
	for _, q := range f.requests() {
		if !strings.HasPrefix(q, "DESCRIBE rtsps://") {
			t.Errorf("the camera was asked %q", q)
		}
	}
}
