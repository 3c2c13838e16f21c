package web

import (
	"crypto/tls"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/redistest"
)

// encrypted is a server with a certificate in files of the test's own.
func encrypted(t *testing.T) (settings Settings, renew func(*redistest.TLSFiles), url string) {
	t.Helper()
	dir := t.TempDir()
	settings = Settings{HTTPTLSCertFile: filepath.Join(dir, "cert.pem"), HTTPTLSKeyFile: filepath.Join(dir, "key.pem")}
	renew = func(from *redistest.TLSFiles) {
		t.Helper()
		for to, from := range map[string]string{settings.HTTPTLSKeyFile: from.ServerKey, settings.HTTPTLSCertFile: from.ServerCert} {
			b, err := os.ReadFile(from)
			if err == nil {
				err = os.WriteFile(to, b, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	renew(redistest.NewTLSFiles(t))
	return settings, renew, strings.Replace(serve(t, Config{Report: good, Settings: settings}), "http://", "https://", 1)
}

// visitTLS asks over a connection of its own.
func visitTLS(t *testing.T, url string, config *tls.Config) (string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Transport{DisableKeepAlives: true, TLSClientConfig: config}).RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

// A renewed certificate is in force soon; one that is wrong leaves the old one so.
func TestTLS(t *testing.T) {
	settings, renew, url := encrypted(t)
	first, err := ClientTLS(&settings)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := visitTLS(t, url+"/healthz", first); err != nil || !strings.Contains(body, `"ok":true`) {
		t.Fatalf("got %s, %v", body, err)
	}
	if resp, _ := get(t, http.MethodGet, strings.Replace(url, "https", "http", 1)+"/healthz", "", ""); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("without TLS: got %d", resp.StatusCode)
	}
	if err := os.WriteFile(settings.HTTPTLSKeyFile, []byte("half a key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Check(&settings); err == nil || !strings.Contains(err.Error(), "http_tls_key_file") {
		t.Errorf("a broken key: got %v", err)
	}
	until := func(what string, config *tls.Config) {
		t.Helper()
		testkit.Eventually(t, what, func() bool { _, err := visitTLS(t, url+"/healthz", config); return err == nil })
	}
	until("the old certificate goes on", first)
	renew(redistest.NewTLSFiles(t))
	second, err := ClientTLS(&settings)
	if err != nil {
		t.Fatal(err)
	}
	until("the new certificate", second)
	if _, err := visitTLS(t, url+"/healthz", first); err == nil || !strings.Contains(err.Error(), "another certificate") {
		t.Errorf("the old certificate: got %v", err)
	}
}

func TestTLSFilesAreChecked(t *testing.T) {
	for name, s := range map[string]Settings{
		"no files": {HTTPTLSCertFile: "/no/such/cert.pem", HTTPTLSKeyFile: "/no/such/key.pem"},
		"no pair":  {HTTPTLSCertFile: redistest.NewTLSFiles(t).ServerCert, HTTPTLSKeyFile: redistest.NewTLSFiles(t).ServerKey},
	} {
		s.HTTP = "127.0.0.1:0"
		if err := Check(&s); err == nil || !strings.Contains(err.Error(), "http_tls_cert_file") {
			t.Errorf("%s: got %v", name, err)
		}
		if _, err := Listen(t.Context(), Config{Settings: s, Report: good}); err == nil {
			t.Errorf("%s: listens", name)
		}
	}
	for _, s := range []Settings{{HTTPTLSCertFile: "cert.pem"}, {HTTPTLSKeyFile: "key.pem"}} {
		wrong := 0
		s.Validate(func(key, _, _ string) {
			if key == "http_tls_cert_file" {
				wrong++
			}
		})
		if wrong != 1 {
			t.Errorf("%+v is accepted", s)
		}
	}
}
