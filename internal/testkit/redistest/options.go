package redistest

import (
	"fmt"
	"time"
)

// Option changes how Start sets up a server.
type Option func(*settings)

type tlsMode int

const (
	tlsOff tlsMode = iota
	tlsServerOnly
	tlsMutual
)

// settings is what the options add up to.
type settings struct {
	bind       string
	port       int // 0: choose a free one
	unixSocket bool
	password   string
	acl        []string
	tls        tlsMode
	conf       []string // lines for redis.conf, after the defaults
	sentinel   bool
	host       *NetHost // nil: the server runs in our own network namespace
}

// WithConfig adds one line to redis.conf: the key, and the value as it is
// written there. An empty value becomes "". Later lines win over the defaults.
func WithConfig(key, value string) Option {
	return func(s *settings) {
		if value == "" {
			value = `""`
		}
		s.conf = append(s.conf, key+" "+value)
	}
}

// WithAOF makes the server keep an append-only file; fsync is "always",
// "everysec" or "no".
func WithAOF(fsync string) Option {
	return func(s *settings) {
		s.conf = append(s.conf, "appendonly yes", "appendfsync "+fsync)
	}
}

// WithRDB gives the server a save point that Stop honours: after Stop and
// Restart the data is there, after Kill and Restart only what was saved before.
func WithRDB() Option { return WithConfig("save", "3600 1") }

// WithMaxMemory bounds the server's memory ("32mb") with an eviction policy
// ("noeviction", "allkeys-lru").
func WithMaxMemory(size, policy string) Option {
	return func(s *settings) {
		s.conf = append(s.conf, "maxmemory "+size, "maxmemory-policy "+policy)
	}
}

// WithPassword sets the default user's password. Server.PasswordFile holds it.
func WithPassword(password string) Option {
	return func(s *settings) { s.password = password }
}

// WithACL puts lines ("user agent on >secret ~* &* +@all") into the server's
// ACL file. A line for the user default replaces the one Start would write.
// The file is Server.ACLFile; edit it and Do("ACL", "LOAD") to change users.
func WithACL(lines ...string) Option {
	return func(s *settings) { s.acl = append(s.acl, lines...) }
}

// WithTLS makes the server speak TLS only, with a certificate from a CA made
// for it; Server.TLS has the files. Clients need no certificate.
func WithTLS() Option { return func(s *settings) { s.tls = tlsServerOnly } }

// WithMutualTLS is WithTLS with a client certificate demanded too.
func WithMutualTLS() Option { return func(s *settings) { s.tls = tlsMutual } }

// WithUnixSocket makes the server listen on a unix socket only.
func WithUnixSocket() Option { return func(s *settings) { s.unixSocket = true } }

// WithPort makes the server use this port instead of a free one.
func WithPort(port int) Option { return func(s *settings) { s.port = port } }

// WithBind makes the server listen on this address instead of 127.0.0.1.
func WithBind(addr string) Option { return func(s *settings) { s.bind = addr } }

// asSentinel runs the server in Sentinel mode.
func asSentinel() Option { return func(s *settings) { s.sentinel = true } }

// WithSlowLoading makes the server take so long for each key it loads at a
// start (up to 1 s), answering LOADING to clients meanwhile. It needs WithRDB
// or WithAOF, and some hundred keys in the server when it goes down.
func WithSlowLoading(perKey time.Duration) Option {
	return func(s *settings) {
		// By itself Redis looks at its clients only every 2 MB it has loaded.
		s.conf = append(s.conf, "loading-process-events-interval-bytes 1024",
			fmt.Sprintf("key-load-delay %d", perKey.Microseconds()))
	}
}
