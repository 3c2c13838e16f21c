package stream

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/linktest"
	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/redisconn"
)

const testGroup = "group"

// member is a link with one worker of a group, which writes down what it handled.
type member struct {
	*linktest.Listener
	worker *GroupConsumer
	out    *testkit.Log

	mu   sync.Mutex // guards everything below
	got  []string   // IDs handled
	poor []string   // IDs set aside, with the reason
	hook func(ctx context.Context, m *frame.Message) error
}

func newMember(t *testing.T, cfg redisconn.Config, name string, change func(*GroupConfig)) *member {
	t.Helper()
	m := &member{out: &testkit.Log{}}
	c := GroupConfig{
		Key: testKey, Group: testGroup, Name: name, Idle: time.Minute, Log: zerolog.New(m.out),
		Handle: m.handle, SetAside: m.setAside,
	}
	if change != nil {
		change(&c)
	}
	m.worker = NewGroupConsumer(c)
	m.Listener = linktest.Listen(t, cfg, func(c *datatransfer.LinkConfig) { c.Workers = []datatransfer.Worker{m.worker.Worker()} })
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of worker %s:\n%s", name, m.out)
		}
	})
	return m
}

func (m *member) handle(ctx context.Context, msg *frame.Message) error {
	m.mu.Lock()
	hook := m.hook
	m.mu.Unlock()
	if hook != nil {
		if err := hook(ctx, msg); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.got = append(m.got, msg.Header.ID.String())
	return nil
}

func (m *member) setAside(id frame.ID, msg *frame.Message, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.poor = append(m.poor, fmt.Sprintf("%s %t %v", id, msg != nil, err))
}

func (m *member) hooked(f func(context.Context, *frame.Message) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hook = f
}

func (m *member) handled() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.got)
}

func (m *member) aside() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.poor)
}

// ids are the names of frames of epoch 100.
func ids(from, to uint64) (out []string) {
	for seq := from; seq <= to; seq++ {
		out = append(out, id(100, seq).String())
	}
	return out
}

// byID sorts IDs of one epoch.
func byID(all []string) []string {
	slices.SortFunc(all, func(a, b string) int {
		x, _ := frame.ParseID(a)
		y, _ := frame.ParseID(b)
		return x.Compare(y)
	})
	return all
}

// onceEach waits until the members have handled everything of want, and fails when
// they handled anything else, or anything twice.
func onceEach(t *testing.T, want []string, members ...*member) {
	t.Helper()
	sum := func() (got []string) {
		for _, m := range members {
			got = append(got, m.handled()...)
		}
		return got
	}
	testkit.Eventually(t, fmt.Sprintf("%d entries are handled", len(want)), func() bool { return len(sum()) >= len(want) })
	if got := byID(sum()); !slices.Equal(got, want) {
		t.Errorf("handled %v\nwant each once: %v", got, want)
	}
}

// atLeastOnce waits until every entry of want has been handled by somebody.
func atLeastOnce(t *testing.T, want []string, members ...*member) {
	t.Helper()
	testkit.Eventually(t, "every entry is handled", func() bool {
		seen := map[string]bool{}
		for _, m := range members {
			for _, id := range m.handled() {
				seen[id] = true
			}
		}
		return !slices.ContainsFunc(want, func(id string) bool { return !seen[id] })
	})
}

// settled waits until nothing is pending or unread in the group.
func settled(t *testing.T, c *redis.Client) {
	t.Helper()
	testkit.Eventually(t, "the group has nothing pending", func() bool {
		groups, err := c.XInfoGroups(context.Background(), testKey).Result()
		return err == nil && len(groups) == 1 && groups[0].Pending == 0 && groups[0].Lag == 0
	})
}

// made expects the group to have been made so often. The one that made it counts it last:
// the other may have handled everything by then.
func made(t *testing.T, want uint64, members ...*member) {
	t.Helper()
	sum := func() (n uint64) {
		for _, m := range members {
			n += m.worker.Stats().Groups
		}
		return n
	}
	testkit.Eventually(t, "the one that made the group counts it", func() bool { return sum() >= want })
	if got := sum(); got != want {
		t.Errorf("the group was made %d times, want %d", got, want)
	}
}

// kept fails when an answer of Redis to a worker ended a session. (A busy
// machine may make a probe late, which is another matter.)
func kept(t *testing.T, members ...*member) {
	t.Helper()
	for _, m := range members {
		switch s := m.Status(); s.LastOutage.Cause {
		case redisconn.CausePermission, redisconn.CauseServer, redisconn.CauseReadOnly, redisconn.CauseOther:
			t.Errorf("the link was lost %d times, last because of %q", s.Outages, s.LastOutage.Cause)
		}
	}
}

// blocked waits until so many readers wait in Redis.
func blocked(t *testing.T, server *redistest.Server, n string) {
	t.Helper()
	testkit.Eventually(t, n+" blocked readers", func() bool { return server.Info("clients")["blocked_clients"] == n })
}
