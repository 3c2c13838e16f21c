package redistest

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// adminUser is the user through which Do works, whatever a test does to the
// others.
const adminUser = "redistest-admin"

// files are the paths of one server, all inside directories of its own.
type files struct {
	dir      string
	conf     string
	acl      string
	log      string
	password string
	socket   string
}

// maxSocketPath is what fits into a sockaddr_un.
const maxSocketPath = 107

func newFiles(tb TB) (files, error) {
	dir := tb.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	f := files{dir: dir, conf: at("redis.conf"), acl: at("users.acl"), log: at("redis.log"),
		password: at("password"), socket: at("redis.sock")}
	if len(f.socket) <= maxSocketPath {
		return f, nil
	}
	// A long test name makes a long TempDir; the socket then gets a short one.
	short, err := os.MkdirTemp("", "redistest-")
	if err != nil {
		return files{}, fmt.Errorf("make socket directory: %w", err)
	}
	tb.Cleanup(func() {
		if err := os.RemoveAll(short); err != nil {
			tb.Logf("redistest: remove %s: %v", short, err)
		}
	})
	f.socket = filepath.Join(short, "redis.sock")
	if len(f.socket) > maxSocketPath {
		return files{}, fmt.Errorf("make unix socket: %s is too long; set TMPDIR to a short path", f.socket)
	}
	return f, nil
}

// newSecret returns a random password.
func newSecret() string { return rand.Text() }

// writeUsers writes the ACL file: the admin, the default user, the test's own
// lines. Passwords go in as hashes, so that they may hold any character.
func writeUsers(f files, s settings, adminPassword string) error {
	lines := []string{fmt.Sprintf("user %s on #%s ~* &* +@all", adminUser, sha256Hex(adminPassword))}
	hasDefault := false
	for _, line := range s.acl {
		hasDefault = hasDefault || strings.HasPrefix(line, "user default ")
	}
	switch {
	case hasDefault:
	case s.password != "":
		lines = append(lines, fmt.Sprintf("user default on #%s ~* &* +@all", sha256Hex(s.password)))
	default:
		lines = append(lines, "user default on nopass ~* &* +@all")
	}
	lines = append(lines, s.acl...)
	if err := os.WriteFile(f.acl, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		return fmt.Errorf("write ACL file: %w", err)
	}
	if err := os.WriteFile(f.password, []byte(s.password+"\n"), 0o600); err != nil {
		return fmt.Errorf("write password file: %w", err)
	}
	return nil
}

func sha256Hex(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// writeConf writes redis.conf. The unix socket is always there: the admin's
// commands use it, so they get through when TLS, the ACL or the network do not.
func writeConf(f files, s settings, port int, certs *TLSFiles) error {
	lines := []string{
		"bind " + s.bind,
		"protected-mode no",
		"dir " + confString(f.dir),
		"unixsocket " + confString(f.socket),
		"unixsocketperm 700",
		"aclfile " + confString(f.acl),
		"enable-debug-command yes",
		"daemonize no",
	}
	if !s.sentinel {
		lines = append(lines, `save ""`, "appendonly no", "repl-diskless-sync-delay 0")
	}
	switch {
	case s.unixSocket:
		lines = append(lines, "port 0")
	case certs != nil:
		lines = append(lines, "port 0", "tls-port "+strconv.Itoa(port),
			"tls-ca-cert-file "+confString(certs.CA),
			"tls-cert-file "+confString(certs.ServerCert),
			"tls-key-file "+confString(certs.ServerKey),
			"tls-auth-clients "+map[bool]string{true: "yes", false: "no"}[s.tls == tlsMutual])
	default:
		lines = append(lines, "port "+strconv.Itoa(port))
	}
	if s.password != "" && !s.sentinel {
		lines = append(lines, "masterauth "+confString(s.password))
	}
	lines = append(lines, s.conf...)
	if err := os.WriteFile(f.conf, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		return fmt.Errorf("write redis.conf: %w", err)
	}
	return nil
}

// confString quotes a value the way redis.conf wants it.
func confString(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`).Replace(s) + `"`
}
