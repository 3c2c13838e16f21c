package redistest

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

func TestPasswordAndAdmin(t *testing.T) {
	t.Parallel()
	const secret = `p "q\ z`
	s := Start(t, WithPassword(secret))
	set(t, s.Client(), "v")
	bare := s.ClientOptions()
	bare.Password = ""
	stranger := redis.NewClient(bare)
	defer stranger.Close()
	if err := stranger.Ping(within(t, time.Second)).Err(); err == nil || !strings.HasPrefix(err.Error(), "NOAUTH") {
		t.Errorf("PING without the password: got %v, want NOAUTH", err)
	}
	s.Do("ACL", "SETUSER", "default", "off", "resetpass", "-@all")
	if got := s.Do("GET", "key"); got != "v" {
		t.Errorf("admin's GET with the default user off: got %v, want v", got)
	}
	if _, err := s.TryDo("AUTH", "nobody", secret); err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("TryDo of a refused command: got %v, want an error without the arguments", err)
	}
	raw, err := os.ReadFile(s.PasswordFile())
	if err != nil || strings.TrimSuffix(string(raw), "\n") != secret {
		t.Errorf("password file: got %q, %v, want %q", raw, err, secret)
	}
	if strings.Contains(s.URL(), "z") {
		t.Errorf("URL holds the password: %s", s.URL())
	}
}

func TestACL(t *testing.T) {
	t.Parallel()
	s := Start(t, WithACL("user default off", "user agent on >pw ~* &* +@all -publish"))
	o := s.ClientOptions()
	o.Username, o.Password = "agent", "pw"
	c := redis.NewClient(o)
	defer c.Close()
	set(t, c, "v")
	if err := c.Publish(within(t, time.Second), "ch", "m").Err(); err == nil || !strings.HasPrefix(err.Error(), "NOPERM") {
		t.Errorf("PUBLISH: got %v, want NOPERM", err)
	}
	if err := s.Client().Ping(within(t, time.Second)).Err(); err == nil {
		t.Error("the default user was let in, want it off")
	}
	s.Restart()
	if got := s.Do("ACL", "WHOAMI"); got != adminUser {
		t.Errorf("after Restart the admin is %v, want %s", got, adminUser)
	}
}

func TestUnixSocketWithLongName(t *testing.T) {
	t.Parallel()
	t.Run(strings.Repeat("long", 30), func(t *testing.T) {
		s := Start(t, WithUnixSocket())
		set(t, s.Client(), "v")
		o, err := redis.ParseURL(s.URL())
		if err != nil || o.Network != "unix" || o.Addr != s.Addr() {
			t.Errorf("URL %s: got network %q, address %q, %v", s.URL(), o.Network, o.Addr, err)
		}
	})
}

func TestMaxMemory(t *testing.T) {
	t.Parallel()
	s := Start(t, WithMaxMemory("3mb", "noeviction"))
	c := s.Client()
	var err error
	for i := 0; i < 100 && err == nil; i++ {
		err = c.RPush(within(t, time.Second), "list", strings.Repeat("x", 100_000)).Err()
	}
	if err == nil || !strings.HasPrefix(err.Error(), "OOM") {
		t.Errorf("write 10 MB into 3 MB: got %v, want OOM", err)
	}
	s.ConfigSet("maxmemory", "0")
	set(t, c, "v")
}

func TestTLS(t *testing.T) {
	t.Parallel()
	s := Start(t, WithTLS())
	set(t, s.Client(), "v")
	if !strings.HasPrefix(s.URL(), "rediss://") {
		t.Errorf("URL is %s, want rediss://", s.URL())
	}
	wrong, err := NewTLSFiles(t).ClientConfig()
	if err != nil {
		t.Fatal(err)
	}
	_, err = tls.Dial("tcp", s.Addr(), wrong)
	if unknown := (x509.UnknownAuthorityError{}); !errors.As(err, &unknown) {
		t.Errorf("dial with another CA: got %v, want unknown authority", err)
	}
	s.Restart()
	set(t, s.Client(), "v")
}

func TestMutualTLS(t *testing.T) {
	t.Parallel()
	s := Start(t, WithMutualTLS())
	set(t, s.Client(), "v")
	o := s.ClientOptions()
	o.TLSConfig.Certificates = nil
	c := redis.NewClient(o)
	defer c.Close()
	if err := c.Ping(within(t, time.Second)).Err(); err == nil {
		t.Error("a client without a certificate was let in")
	}
}

func TestReplicaAndClients(t *testing.T) {
	t.Parallel()
	master, replica := Start(t, WithPassword("pw")), Start(t, WithPassword("other"))
	replica.ReplicaOf(master)
	if got := replica.Role(); got != "slave" {
		t.Errorf("role after ReplicaOf: %s", got)
	}
	c := replica.Client()
	if err := c.Set(t.Context(), "key", "v", 0).Err(); err == nil || !strings.HasPrefix(err.Error(), "READONLY") {
		t.Errorf("SET on a replica: got %v, want READONLY", err)
	}
	replica.Promote()
	set(t, c, "v")

	sub := c.Subscribe(within(t, 5*time.Second), "ch")
	defer sub.Close()
	if _, err := sub.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(replica.Clients("pubsub")); n != 1 {
		t.Errorf("%d pubsub clients, want 1", n)
	}
	if n := len(replica.Clients("normal")); n != 1 {
		t.Errorf("%d normal clients, want 1, the admin left out", n)
	}
	if n := replica.KillClients("pubsub"); n != 1 {
		t.Errorf("KillClients ended %d, want 1", n)
	}
	if _, err := sub.Receive(t.Context()); !errors.Is(err, io.EOF) {
		t.Errorf("Receive on a killed connection: got %v, want EOF", err)
	}
}
