package redistest

import (
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

func TestSentinelFailover(t *testing.T) {
	t.Parallel()
	for name, hurt := range map[string]func(*Server){"kill": (*Server).Kill, "freeze": (*Server).Freeze} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const down = 500 * time.Millisecond
			set := StartSentinel(t, down, WithPassword("pw"))
			first := set.Master()
			if first != set.Servers()[0] || set.Replica() != set.Servers()[1] {
				t.Fatalf("master is %s, want the first server %s", first.Addr(), set.Servers()[0].Addr())
			}
			c := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: set.Name(),
				SentinelAddrs: set.SentinelAddrs(), Password: "pw"})
			defer c.Close()
			if err := c.Set(within(t, 5*time.Second), "key", "v", 0).Err(); err != nil {
				t.Fatalf("SET through the sentinels: %v", err)
			}
			// Replication is asynchronous: what the replica lacks dies with the master.
			if n, err := c.Wait(within(t, 5*time.Second), 1, 5*time.Second).Result(); err != nil || n != 1 {
				t.Fatalf("WAIT for the replica: got %d, %v, want 1", n, err)
			}
			begun := time.Now()
			hurt(first)
			second := set.AwaitFailover(first, 15*time.Second)
			t.Logf("%s: failover took %v with down-after %v", name, time.Since(begun), down)
			if took := time.Since(begun); took < down {
				t.Errorf("failover after %v, before down-after %v", took, down)
			}
			if second != set.Servers()[1] || set.Master() != second {
				t.Errorf("new master is %s, want the other server", second.Addr())
			}
			if got := second.Do("GET", "key"); got != "v" {
				t.Errorf("GET on the new master: got %v, want v", got)
			}
		})
	}
}

func TestSentinelsMustAgree(t *testing.T) {
	t.Parallel()
	set := &SentinelSet{tb: t}
	if _, err := set.agreed(); err == nil || !strings.Contains(err.Error(), "none of the 3") {
		t.Errorf("ask without sentinels: got %v, want that none is running", err)
	}
}
