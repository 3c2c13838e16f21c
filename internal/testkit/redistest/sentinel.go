package redistest

import (
	"fmt"
	"net"
	"strconv"
	"time"
)

const (
	sentinelCount  = 3
	sentinelQuorum = 2
	sentinelName   = "redistest"
	// formLimit is how long the trio may take to find each other.
	formLimit = 30 * time.Second
	// agreeLimit is how long the sentinels may name different masters: the one that leads a failover informs
	// the others with its next hello.
	agreeLimit = 15 * time.Second
	// Hello messages come every 2 s; while the trio forms they come faster.
	normalHello = "2000"
	fastHello   = "200"
)

// SentinelSet is one master, one replica and three sentinels on loopback.
type SentinelSet struct {
	tb        TB
	servers   []*Server
	sentinels []*Server
}

// StartSentinel starts the five processes and returns when every sentinel knows
// the master, the replica and the other two sentinels. downAfter is the time
// after which a silent master is down; opts go to the two servers.
func StartSentinel(tb TB, downAfter time.Duration, opts ...Option) *SentinelSet {
	tb.Helper()
	set := &SentinelSet{tb: tb}
	for range 2 {
		set.servers = append(set.servers, Start(tb, opts...))
	}
	master := set.servers[0]
	// The sentinels learn of replicas from the master's INFO, which they read
	// when they start and then only every 10 s.
	set.servers[1].ReplicaOf(master)
	for range sentinelCount {
		conf := append([]Option{asSentinel()}, sentinelConf(master, downAfter)...)
		set.sentinels = append(set.sentinels, Start(tb, conf...))
	}
	for _, s := range set.sentinels {
		s.Do("SENTINEL", "DEBUG", "publish-period", fastHello)
	}
	if err := await(formLimit, set.formed); err != nil {
		tb.Fatalf("redistest: form sentinel set: %v", err)
	}
	for _, s := range set.sentinels {
		s.Do("SENTINEL", "DEBUG", "publish-period", normalHello)
	}
	return set
}

func sentinelConf(master *Server, downAfter time.Duration) []Option {
	monitor := fmt.Sprintf("monitor %s %s %d %d", sentinelName, master.host(), master.port, sentinelQuorum)
	conf := []Option{
		WithConfig("sentinel", monitor),
		WithConfig("sentinel", fmt.Sprintf("down-after-milliseconds %s %d", sentinelName, downAfter.Milliseconds())),
		// A failed attempt is repeated after twice this time.
		WithConfig("sentinel", fmt.Sprintf("failover-timeout %s 5000", sentinelName)),
	}
	if master.set.password != "" {
		conf = append(conf, WithConfig("sentinel", "auth-pass "+sentinelName+" "+confString(master.set.password)))
	}
	return conf
}

// formed says which sentinel does not know everybody yet.
func (set *SentinelSet) formed() error {
	for _, s := range set.sentinels {
		fields, err := s.sentinelMaster()
		if err != nil {
			return err
		}
		if fields["num-slaves"] != "1" || fields["num-other-sentinels"] != strconv.Itoa(sentinelCount-1) ||
			fields["flags"] != "master" {
			return fmt.Errorf("sentinel %s knows %s replicas, %s other sentinels, flags %s", s.Addr(),
				fields["num-slaves"], fields["num-other-sentinels"], fields["flags"])
		}
	}
	return nil
}

// sentinelMaster is what one sentinel knows of the master.
func (s *Server) sentinelMaster() (map[string]string, error) {
	reply, err := s.TryDo("SENTINEL", "MASTER", sentinelName)
	if err != nil {
		return nil, err
	}
	list, _ := reply.([]any)
	fields := map[string]string{}
	for i := 0; i+1 < len(list); i += 2 {
		fields[fmt.Sprint(list[i])] = fmt.Sprint(list[i+1])
	}
	return fields, nil
}

// Name is the name under which the sentinels know the master.
func (set *SentinelSet) Name() string { return sentinelName }

// SentinelAddrs are the addresses of the three sentinels.
func (set *SentinelSet) SentinelAddrs() []string {
	var addrs []string
	for _, s := range set.sentinels {
		addrs = append(addrs, s.Addr())
	}
	return addrs
}

// Servers are the two redis-servers; the first one began as the master.
func (set *SentinelSet) Servers() []*Server { return set.servers }

// Sentinels are the three sentinel processes, to be hurt like any server.
func (set *SentinelSet) Sentinels() []*Server { return set.sentinels }

// Master is the server that all sentinels that are neither killed nor frozen name as the master, which
// they are asked again. During a failover one sentinel knows of it before the others do: Master waits
// for them, and the test fails if they do not come to agree.
func (set *SentinelSet) Master() *Server {
	set.tb.Helper()
	var s *Server
	err := await(agreeLimit, func() (err error) {
		s, err = set.agreed()
		return err
	})
	if err != nil {
		set.tb.Fatalf("redistest: %v", err)
	}
	return s
}

// Replica is the server that is not the master.
func (set *SentinelSet) Replica() *Server {
	set.tb.Helper()
	if set.Master() == set.servers[0] {
		return set.servers[1]
	}
	return set.servers[0]
}

func (set *SentinelSet) agreed() (*Server, error) {
	var master *Server
	for _, sentinel := range set.sentinels {
		if !sentinel.Running() || procState(sentinel.Pid()) == 'T' {
			continue // killed or frozen
		}
		named, err := set.namedBy(sentinel)
		if err != nil {
			return nil, err
		}
		if master != nil && named != master {
			return nil, fmt.Errorf("ask sentinels for the master: one says %s, another %s", master.Addr(), named.Addr())
		}
		master = named
	}
	if master == nil {
		return nil, fmt.Errorf("ask sentinels for the master: none of the %d is running", sentinelCount)
	}
	return master, nil
}

func (set *SentinelSet) namedBy(sentinel *Server) (*Server, error) {
	reply, err := sentinel.TryDo("SENTINEL", "GET-MASTER-ADDR-BY-NAME", sentinelName)
	if err != nil {
		return nil, err
	}
	pair, ok := reply.([]any)
	if !ok || len(pair) != 2 {
		return nil, fmt.Errorf("ask sentinel %s for the master: reply is %v", sentinel.Addr(), reply)
	}
	host, port := fmt.Sprint(pair[0]), fmt.Sprint(pair[1])
	for _, s := range set.servers {
		if s.Addr() == net.JoinHostPort(host, port) {
			return s, nil
		}
	}
	return nil, fmt.Errorf("ask sentinel %s for the master: it names %s:%s, a stranger", sentinel.Addr(), host, port)
}

// AwaitFailover returns the new master when all running sentinels name another
// one than old and that one calls itself master.
func (set *SentinelSet) AwaitFailover(old *Server, limit time.Duration) *Server {
	set.tb.Helper()
	var found *Server
	err := await(limit, func() error {
		master, err := set.agreed()
		if err != nil {
			return err
		}
		if master == old {
			return fmt.Errorf("fail over from %s: the sentinels still name it", old.Addr())
		}
		reply, err := master.TryDo("INFO", "replication")
		if err != nil {
			return err
		}
		if role := infoFields(fmt.Sprint(reply))["role"]; role != "master" {
			return fmt.Errorf("fail over to %s: its role is %s", master.Addr(), role)
		}
		found = master
		return nil
	})
	if err != nil {
		set.tb.Fatalf("redistest: %v", err)
	}
	return found
}
