package redisconn

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"
)

// Cause names why there is no link, by what an operator can do about it.
type Cause string

// The causes.
const (
	CauseNone        Cause = ""
	CauseRefused     Cause = "refused"        // nothing listens there
	CauseTimeout     Cause = "timed out"      // no answer to the connection attempt
	CauseUnreachable Cause = "unreachable"    // no route
	CauseDNS         Cause = "dns"            // the host name does not resolve
	CauseFrozen      Cause = "frozen"         // connected, the kernel answers, Redis does not
	CauseBlackHole   Cause = "black hole"     // connected, the network swallows packets
	CauseClosed      Cause = "closed"         // the server ended the connection
	CausePermission  Cause = "not permitted"  // the ACL forbids a command or channel
	CausePassword    Cause = "wrong password" // or user name, or none given
	CauseLoading     Cause = "loading"        // Redis reads its data back
	CauseReadOnly    Cause = "read-only"      // a replica
	CauseReplicas    Cause = "too few replicas"
	CauseWrongNode   Cause = "wrong node"    // publishing does not reach our own subscription
	CauseOOM         Cause = "out of memory" // maxmemory is reached
	CauseTLS         Cause = "tls"
	CauseSentinel    Cause = "sentinel" // no Sentinel names a master
	CauseConfig      Cause = "config"   // a file named in the configuration is unreadable
	CauseMisconf     Cause = "misconf"  // Redis cannot save its data and refuses writes
	CauseServer      Cause = "server"   // another error reply
	CauseProtocol    Cause = "protocol" // what is there does not speak as Redis does
	CauseClients     Cause = "too many clients"
	CauseProtected   Cause = "protected mode" // Redis refuses other machines
	CauseCluster     Cause = "cluster"        // a node of a Redis Cluster
	CauseOld         Cause = "too old"        // a Redis before 6.2
	CauseOther       Cause = "other"
)

// Advice is one sentence: what to do.
func (c Cause) Advice() string { return advice[c] }

var advice = map[Cause]string{ //nolint:gochecknoglobals // a constant table
	CauseRefused:     "nothing listens at that address: start redis-server, or correct redis.url",
	CauseTimeout:     "no answer to the connection attempt: check the network, the firewall and redis.url",
	CauseUnreachable: "no route to that address: check the network and redis.url",
	CauseDNS:         "the host name does not resolve: check DNS, /etc/hosts and redis.url",
	CauseFrozen:      "the connection stands but Redis does not answer: look at its process, disk and swap",
	CauseBlackHole:   "sent packets are not acknowledged: check cables, switches and firewalls",
	CauseClosed:      "Redis or something between ended the connection",
	CausePermission:  "give the user this command or channel with ACL SETUSER",
	CausePassword:    "check redis.username and the content of redis.password_file",
	CauseLoading:     "Redis is reading its data; it will answer when it is done",
	CauseReadOnly:    "this node takes no writes: point redis.url at the master, or use Sentinel",
	CauseReplicas:    "start the missing replicas, or lower Redis's min-replicas-to-write",
	CauseWrongNode:   "what is published does not come back: is there a proxy, or are there two nodes behind one address?",
	CauseOOM:         "raise Redis's maxmemory, or lower delivery.stream_max_bytes",
	CauseTLS:         "check the certificates, redis.tls_ca_file and the host name in redis.url",
	CauseSentinel:    "check redis.sentinel_addrs and redis.sentinel_master",
	CauseConfig:      "make the named file readable",
	CauseMisconf:     "Redis cannot write to its disk: see its log",
	CauseServer:      "Redis answered with an error: see the error and its log",
	CauseProtocol:    "is it Redis that listens at redis.url? The error has the bytes that were not understood",
	CauseClients:     "raise Redis's maxclients, or find out with CLIENT LIST who holds so many connections",
	CauseProtected:   "give Redis a password, or an address to bind to, and let it serve other machines (protected-mode no)",
	CauseCluster:     "a Redis Cluster is not supported: point redis.url at a stand-alone Redis, or use Sentinel",
	CauseOld:         "install Redis " + oldest + " or a newer one, or Valkey",
	CauseOther:       "see the error",
}

// Causes are all there are, in order.
func Causes() []Cause { return slices.Sorted(maps.Keys(advice)) }

// Errors that carry their cause.
type (
	// DialError is a connection that could not be made.
	DialError struct{ Err error }
	// TLSError is a handshake that failed.
	TLSError struct{ Err error }
	// SentinelError means that no Sentinel named a master.
	SentinelError struct{ Err error }
	// ConfigError is a file of the configuration that could not be read.
	ConfigError struct{ Err error }
	// CauseError gives any error a cause.
	CauseError struct {
		Cause Cause
		Err   error
	}
)

func (e *DialError) Error() string     { return "connect: " + e.Err.Error() }
func (e *DialError) Unwrap() error     { return e.Err }
func (e *TLSError) Error() string      { return "TLS handshake: " + e.Err.Error() }
func (e *TLSError) Unwrap() error      { return e.Err }
func (e *SentinelError) Error() string { return e.Err.Error() }
func (e *SentinelError) Unwrap() error { return e.Err }
func (e *ConfigError) Error() string   { return e.Err.Error() }
func (e *ConfigError) Unwrap() error   { return e.Err }
func (e *CauseError) Error() string    { return e.Err.Error() }
func (e *CauseError) Unwrap() error    { return e.Err }

// CauseOf is what an error means to an operator.
func CauseOf(err error) Cause {
	if err == nil {
		return CauseNone
	}
	var sentinel *SentinelError
	if errors.As(err, &sentinel) { // whatever it is, it is not the fault of what redis.url names
		return CauseSentinel
	}
	var given *CauseError
	if errors.As(err, &given) {
		return given.Cause
	}
	if c := causeOfReply(err); c != CauseNone {
		return c
	}
	var conf *ConfigError
	switch {
	case errors.As(err, &conf):
		return CauseConfig
	case isTLS(err):
		return CauseTLS
	}
	return causeOfNetwork(err)
}

// isTLS reports whether certificates or protocol versions are the trouble. A
// handshake that silence or a closed connection ended is not: a frozen Redis
// must not send the operator to the certificates.
func isTLS(err error) bool {
	var handshake *TLSError
	if errors.As(err, &handshake) && causeOfNetwork(handshake.Err) == CauseOther {
		return true
	}
	var remote *net.OpError // how crypto/tls passes the far side's alert on
	var record tls.RecordHeaderError
	var cert *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	return errors.As(err, &remote) && remote.Op == "remote error" ||
		errors.As(err, &record) || errors.As(err, &cert) || errors.As(err, &authority)
}

func causeOfNetwork(err error) Cause {
	var dns *net.DNSError
	var dial *DialError
	switch {
	case errors.As(err, &dns):
		return CauseDNS
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOENT):
		return CauseRefused
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.ENETDOWN):
		return CauseUnreachable
	case errors.Is(err, syscall.ETIMEDOUT) && !errors.As(err, &dial):
		return CauseBlackHole // TCP_USER_TIMEOUT or keepalive gave up
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		if errors.As(err, &dial) {
			return CauseTimeout
		}
		return CauseFrozen
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET),
		errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed), errors.Is(err, redis.ErrClosed):
		return CauseClosed
	}
	return CauseOther
}

// causeOfReply reads Redis's error replies, whose first word is their code.
func causeOfReply(err error) Cause {
	var reply redis.Error
	if !errors.As(err, &reply) || errors.Is(err, redis.Nil) {
		return CauseNone
	}
	return causeOfText(reply.Error())
}

// codes are the first words of error replies.
var codes = map[string]Cause{ //nolint:gochecknoglobals // a constant table
	"NOPERM":    CausePermission,
	"WRONGPASS": CausePassword, "NOAUTH": CausePassword, "AUTH": CausePassword,
	"LOADING":  CauseLoading,
	"READONLY": CauseReadOnly, "MASTERDOWN": CauseReadOnly, "UNBLOCKED": CauseReadOnly,
	"NOREPLICAS": CauseReplicas,
	"OOM":        CauseOOM,
	"MISCONF":    CauseMisconf,
	"DENIED":     CauseProtected,
	"MOVED":      CauseCluster, "ASK": CauseCluster, "CLUSTERDOWN": CauseCluster, "CROSSSLOT": CauseCluster,
}

// phrases are parts of error replies that have no code of their own.
var phrases = map[string]Cause{ //nolint:gochecknoglobals // a constant table
	"invalid password":          CausePassword,
	"invalid username-password": CausePassword,
	"max number of clients":     CauseClients,
	"Protocol error":            CauseClosed, // its last words on this connection
	// A Redis before 6.2 takes XADD's NOMKSTREAM for an ID; ours are valid.
	"Invalid stream ID specified": CauseOld,
}

func causeOfText(text string) Cause {
	code, _, _ := strings.Cut(strings.TrimPrefix(text, "ERR "), " ")
	if c, ok := codes[code]; ok {
		return c
	}
	for phrase, c := range phrases {
		if strings.Contains(text, phrase) {
			return c
		}
	}
	return CauseServer
}

// IsReply reports whether err is an answer of Redis, and not a broken connection.
func IsReply(err error) bool { return causeOfReply(err) != CauseNone || errors.Is(err, redis.Nil) }

// EndsSession reports whether a write refused with err means that this node is
// the wrong one to be connected to. Everything that is not an answer does.
func EndsSession(err error) bool {
	switch causeOfReply(err) {
	case CauseReadOnly, CauseLoading, CausePassword, CauseClosed, CauseCluster, CauseOld:
		return true
	case CauseNone:
		return err != nil && !errors.Is(err, redis.Nil)
	default:
		return false
	}
}

// IsAboutSize reports whether err is an answer about how large the command was, in
// the words of Redis and of services like it. A server ends the connection with the
// first.
func IsAboutSize(err error) bool {
	if !IsReply(err) {
		return false
	}
	text := strings.ToLower(err.Error())
	for _, words := range []string{"protocol error", "max request size", "too large", "too big"} {
		if strings.Contains(text, words) {
			return true
		}
	}
	return false
}
