package box

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"framekeeper/internal/testkit/redistest"
)

// TestMutualTLS: server and programs show each other certificates of a CA of
// their own.
func TestMutualTLS(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.WithMutualTLS())
	files := server.TLS()
	tls := fmt.Sprintf("tls_ca_file = %q\ntls_cert_file = %q\ntls_key_file = %q\n", files.CA, files.ClientCert, files.ClientKey)
	rules := documented(t)
	for _, user := range []string{"box1", "box1-operator", "default"} {
		setUser(server, user, rules[user]...)
	}

	b := member(t, server, "box1", tls)
	controller := b.start("controller")
	b.awaitHealthy()
	client := member(t, server, "box1-operator", tls)
	useAll(t, client)
	useControl(t, client)

	other := redistest.NewTLSFiles(t)
	for name, c := range map[string]struct{ tls, want string }{
		"no certificate":     {fmt.Sprintf("tls_ca_file = %q\n", files.CA), "certificate"},
		"another's CA":       {fmt.Sprintf("tls_ca_file = %q\ntls_cert_file = %q\ntls_key_file = %q\n", other.CA, files.ClientCert, files.ClientKey), "certificate signed by unknown authority"},
		"signed by somebody": {fmt.Sprintf("tls_ca_file = %q\ntls_cert_file = %q\ntls_key_file = %q\n", files.CA, other.ClientCert, other.ClientKey), "tls"},
	} {
		p := member(t, server, "box1-operator", c.tls).start("client", "request", "--timeout", "2s")
		if err := p.finish(); exitCode(err) != 1 || !strings.Contains(p.out.String(), c.want) {
			t.Errorf("%s: got %v, want exit code 1 and %q in\n%s", name, err, c.want, p.out.String())
		}
	}
	if err := controller.end(syscall.SIGTERM); err != nil {
		t.Errorf("controller: %v", err)
	}
}
