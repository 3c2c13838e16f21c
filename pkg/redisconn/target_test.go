package redisconn

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"framekeeper/internal/testkit/redistest"
)

func TestCloseEndsBlockedReadsAtOnce(t *testing.T) {
	needRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	cfg := at(server.URL())
	cfg.IOTimeout = time.Minute
	target := mustOpen(t, cfg)
	control, data := clientOf(t, target, Control), clientOf(t, target, Data)
	ctx := context.Background()
	ps := control.Subscribe(ctx, "requests")
	defer func() { _ = ps.Close() }()
	if _, err := ps.Receive(ctx); err != nil {
		t.Fatal(err)
	}
	if !target.Connected() {
		t.Error("the target does not know that its subscription is connected")
	}
	server.Freeze()
	var blocked sync.WaitGroup
	var errs [2]error
	blocked.Go(func() { _, errs[0] = ps.Receive(ctx) })
	blocked.Go(func() { errs[1] = data.Ping(ctx).Err() })
	eventually(t, "both connections stand", func() bool { return len(sockets(t, target)) == 2 })
	began := time.Now()
	target.Close()
	blocked.Wait()
	if took := time.Since(began); took > patient/4 {
		t.Errorf("the blocked reads ended %s after Close, want at once", took)
	}
	for _, err := range errs {
		if got := CauseOf(err); got != CauseClosed && !errors.Is(err, errDialledOnce) {
			t.Errorf("cause of %v is %q, want %q", err, got, CauseClosed)
		}
	}
	if err := data.Ping(ctx).Err(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a closed target dialled again: %v", err)
	}
}

func TestUnixSocket(t *testing.T) {
	needRedis(t)
	t.Parallel()
	server := redistest.Start(t, redistest.WithUnixSocket())
	target := mustOpen(t, at("unix://"+server.Addr()))
	mustPing(t, clientOf(t, target, Data))
	if target.Addr() != server.Addr() {
		t.Errorf("Addr is %q, want %q", target.Addr(), server.Addr())
	}
	if a := target.Activity(); a.Stuck || a.Moving || a.LastRead.IsZero() {
		t.Errorf("%+v, want the time of the reply and no more", a)
	}
	server.Kill()
	if got := CauseOf(client(t, at("unix://"+server.Addr()), Data).Ping(context.Background()).Err()); got != CauseRefused {
		t.Errorf("cause of a socket nobody listens on is %q, want %q", got, CauseRefused)
	}
}

func TestDatabaseNumber(t *testing.T) {
	needRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	ctx := context.Background()
	c := client(t, at("redis://"+server.Addr()+"/7"), Data)
	if err := c.Set(ctx, "key", "value", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if got := server.Info("keyspace"); got["db7"] == "" || got["db0"] != "" {
		t.Errorf("keyspace %v, want the key in db7", got)
	}
}

func TestWhoWeAre(t *testing.T) {
	needRedis(t)
	t.Parallel()
	server := redistest.Start(t, redistest.WithACL("user bob on >secret ~* &* +@all"))
	file := write(t, "secret\r\n")
	for name, change := range map[string]func(*Config){
		"name in the URL":      func(c *Config) { c.URL = "redis://bob@" + server.Addr() },
		"name by its own key":  func(c *Config) { c.Username = "bob" },
		"the same name, twice": func(c *Config) { c.URL, c.Username = "redis://bob@"+server.Addr(), "bob" },
	} {
		cfg := at("redis://" + server.Addr())
		cfg.PasswordFile = file
		change(&cfg)
		got, err := client(t, cfg, Data).Do(context.Background(), "ACL", "WHOAMI").Text()
		if err != nil || got != "bob" {
			t.Errorf("%s: we are %q (%v), want bob", name, got, err)
		}
	}
}

// A rotated password heals by itself because each session reads the file.
func TestThePasswordFileIsReadForEachTarget(t *testing.T) {
	needRedis(t)
	t.Parallel()
	server := redistest.Start(t, redistest.WithPassword("first"))
	cfg := at("redis://" + server.Addr())
	cfg.PasswordFile = write(t, "first\n")
	mustPing(t, client(t, cfg, Data))
	server.Do("CONFIG", "SET", "requirepass", "second")
	err := client(t, cfg, Data).Ping(context.Background()).Err()
	if got := CauseOf(err); got != CausePassword {
		t.Errorf("cause of %v is %q, want %q", err, got, CausePassword)
	}
	if strings.Contains(err.Error(), "first") {
		t.Errorf("the error reveals the password: %v", err)
	}
	if err := os.WriteFile(cfg.PasswordFile, []byte("second"), 0o600); err != nil {
		t.Fatal(err)
	}
	mustPing(t, client(t, cfg, Data))
}

func TestFileErrorsNameTheFileOnly(t *testing.T) {
	t.Parallel()
	secret := write(t, "hunter2")
	for name, change := range map[string]func(*Config){
		"password_file": func(c *Config) { c.PasswordFile = secret + "/absent" },
		"tls_ca_file":   func(c *Config) { c.TLSCAFile = secret },
		"tls_cert_file": func(c *Config) { c.TLSCertFile, c.TLSKeyFile = secret, secret },
	} {
		cfg := at("rediss://localhost:1")
		change(&cfg)
		_, err := Open(context.Background(), cfg)
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		contains(t, err.Error(), name)
		if name != "tls_cert_file" {
			contains(t, err.Error(), secret)
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error reveals the file's content: %v", name, err)
		}
		if got := CauseOf(err); got != CauseConfig {
			t.Errorf("%s: cause is %q, want %q", name, got, CauseConfig)
		}
	}
}

// Opening a pipe waits until somebody writes to it.
func TestAPipeInPlaceOfAFile(t *testing.T) {
	t.Parallel()
	files := redistest.NewTLSFiles(t)
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Config){
		"password_file": func(c *Config) { c.PasswordFile = pipe },
		"tls_ca_file":   func(c *Config) { c.TLSCAFile = pipe },
		"tls_cert_file": func(c *Config) { c.TLSCertFile, c.TLSKeyFile = pipe, files.ClientKey },
		"tls_key_file":  func(c *Config) { c.TLSCertFile, c.TLSKeyFile = files.ClientCert, pipe },
	} {
		cfg := at("rediss://localhost:1")
		change(&cfg)
		_, err := Open(context.Background(), cfg)
		if CauseOf(err) != CauseConfig {
			t.Errorf("%s: cause of %v is %q, want %q", name, err, CauseOf(err), CauseConfig)
		}
		contains(t, fmt.Sprint(err), "read "+name+": "+pipe+" is a pipe, expected a regular file")
	}
}

// refusal is why a client of cfg cannot ping.
func refusal(t *testing.T, cfg Config) error {
	t.Helper()
	target, err := Open(context.Background(), cfg)
	if err != nil {
		return err
	}
	defer target.Close()
	c := target.Client(Data)
	defer func() { _ = c.Close() }()
	return c.Ping(context.Background()).Err()
}

func TestTLS(t *testing.T) {
	needRedis(t)
	t.Parallel()
	server := redistest.Start(t, redistest.WithMutualTLS())
	files, other := server.TLS(), redistest.NewTLSFiles(t)
	full := at(server.URL())
	full.DialTimeout = patient // a loaded machine is slow at cryptography
	full.TLSCAFile, full.TLSCertFile, full.TLSKeyFile = files.CA, files.ClientCert, files.ClientKey
	if err := refusal(t, full); err != nil {
		t.Errorf("with everything right: %v", err)
	}
	for name, change := range map[string]func(*Config){
		"unknown CA":             func(c *Config) { c.TLSCAFile = "" },
		"another CA":             func(c *Config) { c.TLSCAFile = other.CA },
		"no certificate of ours": func(c *Config) { c.TLSCertFile, c.TLSKeyFile = "", "" },
		"a stranger's":           func(c *Config) { c.TLSCertFile, c.TLSKeyFile = other.ClientCert, other.ClientKey },
	} {
		cfg := full
		change(&cfg)
		if err := refusal(t, cfg); CauseOf(err) != CauseTLS {
			t.Errorf("%s: cause of %v is %q, want %q", name, err, CauseOf(err), CauseTLS)
		}
	}
	// Counted below TLS: activity is what the wire shows.
	target := mustOpen(t, full)
	mustPing(t, clientOf(t, target, Data))
	if target.BytesIn() < 500 || target.Activity().LastRead.IsZero() {
		t.Errorf("%d bytes counted for a handshake and a PONG", target.BytesIn())
	}
}

// A frozen server has no certificate trouble. One without TLS looks the same:
// it waits for the end of what it takes for a command. The text names both.
func TestTLSHandshakeThatDoesNotCome(t *testing.T) {
	needRedis(t)
	t.Parallel()
	server := redistest.Start(t, redistest.WithTLS())
	cfg := at(server.URL())
	cfg.TLSCAFile = server.TLS().CA
	mustPing(t, client(t, cfg, Data))
	server.Freeze()
	if err := refusal(t, cfg); CauseOf(err) != CauseFrozen {
		t.Errorf("frozen: cause of %v is %q, want %q", err, CauseOf(err), CauseFrozen)
	}
	server.Kill()
	if err := refusal(t, cfg); CauseOf(err) != CauseRefused {
		t.Errorf("killed: cause of %v is %q, want %q", err, CauseOf(err), CauseRefused)
	}
	plain := redistest.Start(t)
	cfg.URL = "rediss://" + plain.Addr()
	contains(t, fmt.Sprint(refusal(t, cfg)), "frozen", "does not speak TLS")
}
