package redisserver

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// What the server needs besides the streams: its own, the clients' buffers, of
// which one that lags may fill 32 MB, and the frames on their way.
const (
	headroom = 64 << 20
	overhead = 4 // a quarter of what is stored or sent, for indexes and the allocator
	// inFlight is how often a camera's largest frame is in memory outside the stream's
	// bound: as the argument of the PUBLISH and of the XADD, as the entry before the
	// oldest is trimmed, in a reader's answer, and twice for each of two subscribers.
	inFlight = 8

	// How much may wait for a subscriber: always, and for a minute. Redis's own defaults.
	waitMost, waitMinute = 32 << 20, 8 << 20
	// waiting is how many of the largest frames may wait in any case.
	waiting = 2
)

// MemoryFor is the bound of a server that holds a stream of so many bytes for each
// camera, whose largest frames are given.
func MemoryFor(streamBytes int64, largest ...int64) int64 {
	total := int64(headroom)
	for _, frame := range largest {
		total += withOverhead(streamBytes + inFlight*frame)
	}
	return total
}

func withOverhead(n int64) int64 { return n + n/overhead }

// subscriberLimit is the line that bounds what waits for a subscriber.
func (s *settings) subscriberLimit() string {
	frames := withOverhead(waiting*s.frame) + 1<<20 // headers, and Redis's lists
	return fmt.Sprintf("client-output-buffer-limit pubsub %d %d 60", max(waitMost, frames), max(waitMinute, frames))
}

// refused are the commands with which a user could stop the server, turn it
// into somebody else's replica, make it write files or run code. CLIENT PAUSE
// stops it for years. What CLIENT may do is listed, because Redis 6 has no other way.
const refused = "-acl -config +config|get -debug -module -replicaof -slaveof -failover -shutdown -save -bgsave -bgrewriteaof -migrate -sync -psync" +
	" -client +client|id +client|getname +client|setname +client|info +client|list +client|kill +client|unblock +client|reply"

// settings are everything that one process is started with.
type settings struct {
	endpoint endpoint
	addrs    []netip.Addr
	dir      string
	memory   int64
	frame    int64  // the largest
	password string // "": none is asked for
}

// conf is the configuration as redis-server reads it from its standard input.
// Passwords are in it as hashes only.
func (s *settings) conf() []byte {
	lines := []string{
		"daemonize no",
		`logfile ""`,
		"loglevel warning",
		"dir " + quoted(s.dir),
		`save ""`,
		"appendonly no",
		"maxmemory " + strconv.FormatInt(s.memory, 10),
		"maxmemory-policy noeviction",
		s.subscriberLimit(),
		"maxclients 1000",
		"databases " + strconv.Itoa(max(16, s.endpoint.database+1)),
		"protected-mode yes",
	}
	lines = append(lines, s.listen()...)
	lines = append(lines, s.user()...)
	return []byte(strings.Join(lines, "\n") + "\n")
}

func (s *settings) listen() []string {
	if s.endpoint.socket != "" {
		return []string{"port 0", "unixsocket " + quoted(s.endpoint.socket), "unixsocketperm 770"}
	}
	bind := "bind"
	for _, a := range s.addrs {
		bind += " " + a.String()
	}
	return []string{"port " + s.endpoint.port, bind}
}

// user is the one the programs use. If it has a name, nobody gets in without.
func (s *settings) user() []string {
	secret := "nopass"
	if s.password != "" {
		secret = "#" + hashed(s.password)
	}
	rights := fmt.Sprintf("on %s ~* &* +@all %s", secret, refused)
	if name := s.endpoint.userName(); name != defaultUser {
		return []string{"user " + defaultUser + " off", "user " + name + " " + rights}
	}
	return []string{"user " + defaultUser + " " + rights}
}

const defaultUser = "default"

func (e *endpoint) userName() string {
	if e.user == "" {
		return defaultUser
	}
	return e.user
}

func hashed(password string) string {
	sum := sha256.Sum256([]byte(password))
	return hex.EncodeToString(sum[:])
}

// quoted is a value as redis.conf wants it.
func quoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`).Replace(s) + `"`
}
