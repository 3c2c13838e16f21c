package redistest

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// adminLimit bounds one admin command. It covers DEBUG SLEEP as well.
const adminLimit = 30 * time.Second

// ClientOptions are options for a plain client of this server: the default
// user, its password, TLS if the server wants it, and none of go-redis's
// retries, which would hide a fault from the test.
func (s *Server) ClientOptions() *redis.Options {
	s.tb.Helper()
	network := "tcp"
	if s.set.unixSocket {
		network = "unix"
	}
	o := &redis.Options{Network: network, Addr: s.Addr(), Password: s.set.password}
	if s.certs != nil {
		conf, err := s.certs.ClientConfig()
		if err != nil {
			s.tb.Fatalf("redistest: %v", err)
		}
		if s.set.tls == tlsServerOnly {
			conf.Certificates = []tls.Certificate{}
		}
		o.TLSConfig = conf
	}
	return withoutRetries(o)
}

// withoutRetries fills in what makes a client do a command once, and say so
// when it fails.
func withoutRetries(o *redis.Options) *redis.Options {
	o.Protocol = 2
	o.DisableIdentity = true
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	o.MaxRetries = -1
	o.DialerRetries = 1
	o.ContextTimeoutEnabled = true
	return o
}

// Client returns a client with ClientOptions, closed when the test ends.
func (s *Server) Client() *redis.Client {
	s.tb.Helper()
	c := redis.NewClient(s.ClientOptions())
	s.tb.Cleanup(func() { _ = c.Close() }) // a test may have closed it already
	return c
}

// Do runs a command as the server's admin, who is let in whatever the other
// users, the password, TLS or the network are like, and returns its reply as
// go-redis gives it. An error fails the test. A frozen server does not answer.
func (s *Server) Do(args ...any) any {
	s.tb.Helper()
	reply, err := s.TryDo(args...)
	if err != nil {
		s.tb.Fatalf("redistest: %v", err)
	}
	return reply
}

// TryDo is Do for commands that may fail.
func (s *Server) TryDo(args ...any) (any, error) {
	// One connection per command: none is left over from an earlier process.
	c := redis.NewClient(withoutRetries(&redis.Options{
		Network:  "unix",
		Addr:     s.files.socket,
		Username: adminUser,
		Password: s.adminPassword,
		PoolSize: 1,

		ReadTimeout:  adminLimit,
		WriteTimeout: adminLimit,
	}))
	defer func() { _ = c.Close() }() // the reply is what counts
	ctx, cancel := context.WithTimeout(context.Background(), adminLimit)
	defer cancel()
	reply, err := c.Do(ctx, args...).Result()
	if err != nil && len(args) > 0 {
		return nil, fmt.Errorf("run %v on %s: %w", args[0], s.Addr(), err) // other arguments may be secret
	}
	return reply, err
}

// Password is the default user's password as Start set it.
func (s *Server) Password() string { return s.set.password }

// PasswordFile is a file that holds Password, as config.toml's password_file
// wants it. A test may rewrite it.
func (s *Server) PasswordFile() string { return s.files.password }

// ACLFile is the server's ACL file.
func (s *Server) ACLFile() string { return s.files.acl }

// ConfigSet changes a setting of the running server.
func (s *Server) ConfigSet(key, value string) {
	s.tb.Helper()
	s.Do("CONFIG", "SET", key, value)
}

// Info is one section of INFO as a map.
func (s *Server) Info(section string) map[string]string {
	s.tb.Helper()
	return infoFields(fmt.Sprint(s.Do("INFO", section)))
}

func infoFields(text string) map[string]string {
	fields := map[string]string{}
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			fields[key] = value
		}
	}
	return fields
}

// Clients lists the server's connections of one type ("normal", "pubsub",
// "replica", "master"), each as the fields of CLIENT LIST, or all of them for
// "". The admin's own is left out.
func (s *Server) Clients(kind string) []map[string]string {
	s.tb.Helper()
	args := []any{"CLIENT", "LIST"}
	if kind != "" {
		args = append(args, "TYPE", kind)
	}
	var list []map[string]string
	for line := range strings.Lines(fmt.Sprint(s.Do(args...))) {
		fields := map[string]string{}
		for _, field := range strings.Fields(line) {
			key, value, _ := strings.Cut(field, "=")
			fields[key] = value
		}
		if len(fields) > 0 && fields["user"] != adminUser {
			list = append(list, fields)
		}
	}
	return list
}

// KillClients ends the connections of one type and returns how many they were.
func (s *Server) KillClients(kind string) int {
	s.tb.Helper()
	n, ok := s.Do("CLIENT", "KILL", "TYPE", kind).(int64)
	if !ok {
		s.tb.Fatalf("redistest: kill clients of type %s: no count in the reply", kind)
	}
	return int(n)
}

// ReplicaOf makes the server a replica and returns when it has its master's
// data and the link to it is up.
func (s *Server) ReplicaOf(master *Server) {
	s.tb.Helper()
	host, port, err := net.SplitHostPort(master.Addr())
	if err != nil || master.certs != nil {
		s.tb.Fatalf("redistest: replicate from %s: the master needs a plain TCP port", master.Addr())
	}
	s.ConfigSet("masterauth", master.set.password)
	s.Do("REPLICAOF", host, port)
	err = await(startLimit, func() error {
		if status := s.Info("replication")["master_link_status"]; status != "up" {
			return fmt.Errorf("replicate from %s: link is %q", master.Addr(), status)
		}
		return nil
	})
	if err != nil {
		s.tb.Fatalf("redistest: %v", err)
	}
}

// Promote makes a replica a master again.
func (s *Server) Promote() {
	s.tb.Helper()
	s.Do("REPLICAOF", "NO", "ONE")
}

// Role is "master" or "slave", as Redis words it.
func (s *Server) Role() string {
	s.tb.Helper()
	return s.Info("replication")["role"]
}
