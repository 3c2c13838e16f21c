package outbox

import (
	"context"
	"errors"
	"fmt"
	"strings"
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

const streamTopic = "stream/testcam"

// publishing is a link with a publisher.
type publishing struct {
	*linktest.Listener
	*Publisher
	out *testkit.Log
}

func newPublishing(t *testing.T, cfg redisconn.Config, limit int64) *publishing {
	t.Helper()
	v := &publishing{out: &testkit.Log{}}
	v.Publisher = NewPublisher(PublisherConfig{Topic: streamTopic, Limit: limit, Log: zerolog.New(v.out)}, newLog(100, 1<<20, zerolog.Nop()))
	v.Listener = linktest.Listen(t, cfg, func(c *datatransfer.LinkConfig) { c.Workers = v.Workers() })
	return v
}

func (v *publishing) flush(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
	defer cancel()
	if err := v.Flush(ctx); err != nil {
		a, f := v.Stats()
		t.Fatalf("not flushed: %v; answers %+v, frames %+v, link %+v", err, a, f, v.Status())
	}
}

// subscriber collects the sequence numbers published on the stream topic.
type subscriber struct{ *hearing }

func subscribe(t *testing.T, c *redis.Client) subscriber { t.Helper(); return subscriber{hear(t, c)} }

func (a subscriber) received() (seqs []uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, m := range a.all {
		seqs = append(seqs, m.Header.ID.Seq)
	}
	return seqs
}

func (a subscriber) has(seq uint64) bool {
	for _, s := range a.received() {
		if s == seq {
			return true
		}
	}
	return false
}

// What a lost session did not confirm, the next one publishes, in order. A copy
// may come twice; receivers recognise it by its ID.
func TestUnconfirmedMessagesArePublishedAgain(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	proxy := redistest.NewProxy(t, server.Addr())
	v := newPublishing(t, testkit.Fast(proxy.URL()), 64<<20)
	v.AwaitLive(t)
	sub := subscribe(t, server.Client())
	n := uint64(0)
	for round := range 10 {
		var lost <-chan struct{}
		if round%2 == 0 {
			lost = proxy.LoseReplyAfter([]byte(streamTopic))
		}
		for range 20 {
			n++
			v.Answer(sized(t, n, 2000))
			if round%2 == 1 && n%20 == 10 {
				proxy.CutAll()
			}
		}
		if lost != nil {
			<-lost
		}
		v.flush(t)
	}
	testkit.Eventually(t, "the last one arrives", func() bool { return sub.has(n) })
	next := uint64(1)
	twice := 0
	for _, seq := range sub.received() {
		switch {
		case seq == next:
			next++
		case seq < next:
			twice++
		default:
			t.Fatalf("after %d came %d: lost or out of order; all: %v", next-1, seq, sub.received())
		}
	}
	if next != n+1 || twice == 0 {
		t.Errorf("received up to %d of %d, %d of them twice (at least one must be: its reply was lost)", next-1, n, twice)
	}
	if a, _ := v.Stats(); a.Published != n || a.Waiting != 0 || a.Dropped+a.Refused != 0 {
		t.Errorf("stats %+v, want %d published", a, n)
	}
}

// An answer of some kilobytes must not wait for megabytes of frames.
func TestAnswersDoNotWaitBehindFrames(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	proxy := redistest.NewProxy(t, server.Addr())
	cfg := testkit.Fast(proxy.URL())
	cfg.CheckTimeout = 2 * time.Second // half of what the frames take: a probe does not wait behind them either
	v := newPublishing(t, cfg, 64<<20)
	v.AwaitLive(t)
	sub := subscribe(t, server.Client())
	v.Answer(sized(t, 1, 10)) // the answers' connection is up
	testkit.Eventually(t, "the first answer", func() bool { return sub.has(1) })
	proxy.Limit(redistest.ToServer, 2<<20)
	for seq := range uint64(8) {
		v.Frame(sized(t, 100+seq, 1<<20)) // 4 s of the line
	}
	time.Sleep(300 * time.Millisecond)
	began := time.Now()
	v.Answer(sized(t, 2, 10_000))
	testkit.Eventually(t, "the second answer", func() bool { return sub.has(2) })
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("an answer took %s past the frames", took)
	}
	if sub.has(107) {
		t.Error("all frames were through already: this test shows nothing")
	}
	if s := v.Status(); s.Outages != 0 {
		t.Errorf("the link was lost %d times, want never", s.Outages)
	}
	proxy.Limit(redistest.ToServer, 0)
	v.flush(t)
}

func TestWhatWaitsForALinkIsBounded(t *testing.T) {
	t.Parallel()
	o := newLog(100, 1<<30, zerolog.Nop())
	log := &testkit.Log{}
	p := NewPublisher(PublisherConfig{Topic: streamTopic, Limit: 50_000, Log: zerolog.New(log)}, o)
	var items []*Item
	for range 100 {
		item, err := o.Add(Options{Answer: true}, func(id frame.ID) (*frame.Message, error) {
			return frame.NewMessage(frame.Header{ID: id, Status: frame.StatusOK}, make([]byte, 1000))
		})
		if err != nil {
			t.Fatal(err)
		}
		items = append(items, item)
		p.Answer(item)
	}
	a, f := p.Stats()
	if a.Dropped+uint64(a.Waiting) != 100 || a.Waiting < 35 || a.Waiting > 50 || f != (LaneStats{}) {
		t.Errorf("answers %+v, frames %+v, want about 45 of 100 waiting", a, f)
	}
	for i, item := range items { // an answer that will never be published must not delay its entry
		if gone := i < int(a.Dropped); (item.logged.progress == unsent) != gone {
			t.Errorf("item %d may enter the stream: %v, want %v", i, item.logged.progress, gone)
		}
	}
	if n := len(log.Messages()); n != 1 {
		t.Errorf("the loss was logged %d times, want once: %s", n, log)
	}
	for range 3 * maxWaiting {
		p.Frame(NewItem(items[0].Message()))
	}
	if _, f = p.Stats(); f.Waiting > maxWaiting {
		t.Errorf("%d small messages wait, want at most %d", f.Waiting, maxWaiting)
	}
}

func TestRefusedPublishingIsLoggedOnceAndHeals(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t, redistest.WithACL("user bob on >secret ~* &* +@all"))
	cfg := testkit.Fast("redis://bob@" + server.Addr())
	cfg.PasswordFile = testkit.SecretFile(t, "secret")
	v := newPublishing(t, cfg, 64<<20)
	v.AwaitLive(t)
	sub := subscribe(t, server.Client())
	// Whoever subscribed to a channel that is taken away is cut off, so the
	// link's own channels stay.
	server.Do("ACL", "SETUSER", "bob", "resetchannels", "&probe/*", "&"+linktest.Channel)
	v.AwaitLive(t)
	for seq := range uint64(5) {
		v.Answer(sized(t, seq+1, 10))
	}
	const refusal = "Redis refuses PUBLISH; it is tried again every second"
	testkit.Eventually(t, "the refusal is logged", func() bool { return testkit.Count(v.out.Messages(), refusal) == 1 })
	time.Sleep(1100 * time.Millisecond) // and refused again
	v.AwaitLive(t)
	server.Do("ACL", "SETUSER", "bob", "allchannels")
	v.flush(t)
	testkit.Eventually(t, "all arrive", func() bool { return len(sub.received()) == 5 })
	if got := sub.received(); fmt.Sprint(got) != "[1 2 3 4 5]" {
		t.Errorf("received %v, want 1 to 5 once and in order", got)
	}
	if n := testkit.Count(v.out.Messages(), refusal); n != 1 {
		t.Errorf("the refusal was logged %d times", n)
	}
	if !strings.Contains(v.out.String(), "ACL SETUSER") {
		t.Errorf("the log has no advice: %s", v.out)
	}
}

func TestMessagesWithoutReceiversAreCounted(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	v := newPublishing(t, testkit.Fast(server.URL()), 64<<20)
	v.Answer(sized(t, 1, 10))
	v.Frame(sized(t, 2, 10))
	v.flush(t)
	a, f := v.Stats()
	if a.Published != 1 || a.NoReceivers != 1 || f.Published != 1 || f.NoReceivers != 1 {
		t.Errorf("answers %+v, frames %+v, want one of each, without receivers", a, f)
	}
}

func TestFlushEndsWithItsContext(t *testing.T) {
	t.Parallel()
	p := NewPublisher(PublisherConfig{Topic: streamTopic, Limit: 1 << 20, Log: zerolog.Nop()}, newLog(100, 1<<20, zerolog.Nop()))
	if err := p.Flush(context.Background()); err != nil {
		t.Errorf("nothing to flush: %v", err)
	}
	p.Frame(sized(t, 1, 10))
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := p.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Flush without a link returned %v, want %v", err, context.DeadlineExceeded)
	}
}

// A request repeated while its answer still waits for the line must not put it
// there twice: on a slow link the copies would crowd out everything else.
func TestAnAnswerThatStillWaitsIsNotQueuedTwice(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	p := NewPublisher(PublisherConfig{Topic: streamTopic, Limit: 1 << 20, Log: zerolog.Nop()}, newLog(100, 1<<20, zerolog.Nop()))
	item := sized(t, 1, 10)
	for range 5 {
		p.Answer(item)
	}
	if a, _ := p.Stats(); a.Waiting != 1 {
		t.Errorf("%d copies of one answer wait, want 1", a.Waiting)
	}
	server := redistest.Start(t)
	linktest.Listen(t, testkit.Fast(server.URL()), func(c *datatransfer.LinkConfig) { c.Workers = p.Workers() })
	sub := subscribe(t, server.Client())
	flush := func() {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
		defer cancel()
		if err := p.Flush(ctx); err != nil {
			t.Fatal(err)
		}
	}
	flush()
	p.Answer(item) // published by now: the repeat is
	flush()
	if a, _ := p.Stats(); a.Published != 2 {
		t.Errorf("%d published, want 2", a.Published)
	}
	testkit.Eventually(t, "the repeat arrives", func() bool { return sub.has(1) })
}
