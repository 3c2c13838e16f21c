package client

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9"

	"framekeeper/pkg/frame"
)

// mate is another client of the same Redis, with an images_dir of its own.
func (b *bench) mate(mode string, cameras ...string) *bench {
	b.t.Helper()
	m := &bench{t: b.t, redis: b.redis}
	m.configure(b.redis.URL(), mode, cameras...)
	return m
}

// storedIDs are the frames a camera's files are named for, sorted.
func (b *bench) storedIDs(camera string) []string {
	b.t.Helper()
	var ids []string
	for _, file := range b.files(camera) {
		_, id, _ := strings.Cut(strings.TrimSuffix(filepath.Base(file), ".jpg"), "_")
		parsed, err := frame.ParseID(id)
		if err != nil {
			b.t.Fatalf("%s: %v", file, err)
		}
		if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, imageOf(parsed)) {
			b.t.Errorf("%s: got %d bytes, %v, want the image of %s", file, len(got), err, id)
		}
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// TestPoolSharesTheFrames: two processes make requests and share what comes;
// frames from before the pool are its business, too.
func TestPoolSharesTheFrames(t *testing.T) {
	for _, mode := range []string{"stream", "both"} {
		t.Run(mode, func(t *testing.T) {
			b := newBench(t, mode, "greencam1")
			a := startAgent(t, b.redis, "greencam1", mode)
			for range 30 {
				a.produce()
			}
			other := b.mate(mode, "greencam1")
			one := b.process(&b.stdout, &b.stderr, "run", "--group", "pool.1")
			two := other.process(&other.stdout, &other.stderr, "run", "--group", "pool.1", "--no-requests")
			b.await("a share for each", func() bool { return len(b.files("greencam1")) >= 40 && len(other.files("greencam1")) >= 20 })
			_ = one.Process.Signal(syscall.SIGTERM) // the other gets what its last requests brought
			if err := one.Wait(); err != nil {
				t.Errorf("first client: %v\n%s", err, &b.stderr)
			}
			last := a.produce().String()
			other.await("the last frame", func() bool { return slices.Contains(other.storedIDs("greencam1"), last) })
			_ = two.Process.Signal(syscall.SIGTERM)
			if err := two.Wait(); err != nil {
				t.Errorf("second client: %v\n%s", err, &other.stderr)
			}

			var want []string
			a.with(func() {
				for id := (frame.ID{Epoch: 1000, Seq: 1}); id != a.next; id = id.Next() {
					want = append(want, id.String())
				}
			})
			slices.Sort(want)
			got := append(b.storedIDs("greencam1"), other.storedIDs("greencam1")...)
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("stored by both: got %d files, want each of %d frames once", len(got), len(want))
			}
			asked := strconv.Itoa(len(a.angles))
			mine, theirs := strconv.Itoa(len(b.files("greencam1"))), strconv.Itoa(len(other.files("greencam1")))
			wantSummary(t, b.summary(), map[string]string{
				"requests": asked, "answered": asked, "handled": mine, "stored": mine, "frames": mine,
				"claimed": "0", "failed": "0", "poisoned": "0", "declared": "0", "trimmed": "0", "left pending": "0", "duplicates": "0", "lost": "0",
			})
			wantSummary(t, other.summary(), map[string]string{"requests": "0", "handled": theirs, "stored": theirs, "failed": "0", "lost": "0"})
			for _, label := range []string{"captured", "delivered", "undeclared", "unknown (open gaps)"} {
				if got, ok := b.summary()[label]; ok {
					t.Errorf("summary %s: got %s, want no such row: one of a pool cannot know", label, got)
				}
			}
			if found, _ := filepath.Glob(filepath.Join(b.images, ".state", "*.watermark")); len(found) != 0 {
				t.Errorf("watermarks: got %v, want none, the pool has its own", found)
			}
			if left := b.redis.Client().XInfoConsumers(context.Background(), "frames:greencam1", "pool.1").Val(); len(left) != 0 {
				t.Errorf("workers left in the pool: %+v, want none", left)
			}
		})
	}
}

// TestPoolAfterAKill: what killed workers had in hand is stored by another.
func TestPoolAfterAKill(t *testing.T) {
	b := newBench(t, "stream", "greencam1")
	a := startAgent(t, b.redis, "greencam1", "stream")
	doomed := b.process(&b.stdout, &b.stderr, "run", "--group", "pool")
	b.await("its share", func() bool { return len(b.files("greencam1")) >= 10 })
	_ = doomed.Process.Kill()
	_ = doomed.Wait()
	for range 20 {
		a.produce()
	}
	// One that dies with 3 frames in hand, for certain.
	ctx, client := context.Background(), b.redis.Client()
	err := client.XReadGroup(ctx, &redis.XReadGroupArgs{
		Group: "pool", Consumer: "dead", Streams: []string{"frames:greencam1", ">"}, Count: 3,
	}).Err()
	if err != nil {
		t.Fatal(err)
	}
	pending := client.XPendingExt(ctx, &redis.XPendingExtArgs{Stream: "frames:greencam1", Group: "pool", Start: "-", End: "+", Count: 1000}).Val()
	for _, p := range pending { // a minute passes
		b.redis.Do("XCLAIM", "frames:greencam1", "pool", p.Consumer, 0, p.ID, "IDLE", 60000, "JUSTID")
	}
	var captured int
	a.with(func() { captured = int(a.next.Seq) - 1 })
	other := b.mate("stream", "greencam1")
	stop := other.background("run", "--group", "pool", "--no-requests")
	var have []string
	other.await("every frame", func() bool {
		have = append(b.storedIDs("greencam1"), other.storedIDs("greencam1")...)
		slices.Sort(have)
		have = slices.Compact(have)
		return len(have) >= captured
	})
	stop()
	if len(have) != captured {
		t.Errorf("got %d different frames, want %d", len(have), captured)
	}
	wantSummary(t, other.summary(), map[string]string{
		"claimed": strconv.Itoa(len(pending)), "handled": strconv.Itoa(len(other.files("greencam1"))), "poisoned": "0",
	})
}

// TestPoolSetsAside: damaged entries reach corrupt/, unreadable ones the log,
// and neither holds up the pool.
func TestPoolSetsAside(t *testing.T) {
	b := newBench(t, "stream", "greencam1")
	a := startAgent(t, b.redis, "greencam1", "stream")
	a.produce()
	b.redis.Do("XADD", "frames:greencam1", "1000-2", "header",
		`{"camera":"greencam1","id":"1000-2","status":"ok","encoding":"jpeg","bytes":9}`, "image", "damaged")
	b.redis.Do("XADD", "frames:greencam1", "1000-3", "header", "nothing", "image", "at all")
	b.redis.Do("XADD", "frames:greencam1", "1000-9", "header",
		`{"camera":"greencam1","id":"1000-9","status":"dropped","first":"1000-4","last":"1000-9","count":6,"bytes":0}`, "image", "")
	a.with(func() { a.next = frame.ID{Epoch: 1000, Seq: 10} })
	a.produce()
	stop := b.backgroundUntil("2 lost (2 damaged)", "run", "--group", "pool", "--no-requests")
	b.await("the last image", func() bool { return len(b.files("greencam1")) >= 2 })
	stop()
	wantSummary(t, b.summary(), map[string]string{
		"handled": "3", "poisoned": "2", "corrupt": "2", "stored": "2", "declared": "6", "failed": "0", "claimed": "0",
	})
	found, _ := filepath.Glob(filepath.Join(b.images, "greencam1", "corrupt", "*_1000-2.jpg"))
	if len(found) != 1 {
		t.Errorf("corrupt/: got %v, want the damaged image of 1000-2", found)
	}
	if log := b.stderr.String(); strings.Count(log, `"id":"1000-3"`) != 1 {
		t.Errorf("log: want one line with the unreadable entry's ID 1000-3:\n%s", log)
	}
}

func TestPoolRefusesWhatCannotWork(t *testing.T) {
	streams, plain := newBench(t, "stream", "greencam1"), newBench(t, "pubsub", "greencam1")
	for _, c := range []struct {
		b    *bench
		name string
		want string
	}{
		{plain, "pool", `"pubsub"`},
		{streams, "", "1 to 64"},
		{streams, "a pool", `"a pool"`},
		{streams, strings.Repeat("x", 65), "1 to 64"},
		{streams, "pool\n", "1 to 64"},
		{streams, "püol", "1 to 64"},
	} {
		err := c.b.client(t.Context(), "run", "--duration", "1ms", "--group", c.name)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "--group") {
			t.Errorf("--group %q: got %v, want an error that names --group and %s", c.name, err, c.want)
		}
	}
	streams.mustClient("run", "--duration", "1ms", "--no-requests", "--group", strings.Repeat("A.b-_9", 10)+"wxyz")
}

// TestSummaryAccountsForTheStream: whatever the stream contains has its row.
func TestSummaryAccountsForTheStream(t *testing.T) {
	b := newBench(t, "stream", "greencam1")
	a := startAgent(t, b.redis, "greencam1", "stream")
	a.produce()
	stop := b.backgroundUntil("2 holes in the stream", "run", "--no-requests")
	watermark := filepath.Join(b.images, ".state", "greencam1.watermark")
	b.await("the beginning", func() bool { _, err := os.Stat(watermark); return err == nil })
	a.produce() // 1000-2
	b.redis.Do("XADD", "frames:greencam1", "1000-5", "header",
		`{"camera":"greencam1","id":"1000-5","status":"dropped","first":"1000-3","last":"1000-5","count":3,"bytes":0}`, "image", "")
	a.with(func() { a.next = frame.ID{Epoch: 1000, Seq: 8} }) // 6 and 7 are missing without a word
	a.produce()
	b.redis.Do("XADD", "frames:greencam1", "1001-0", "header",
		`{"camera":"greencam1","id":"1001-0","status":"started","previous":"1000-8","clean":false,"bytes":0}`, "image", "")
	a.with(func() { a.next = frame.ID{Epoch: 1001, Seq: 1} })
	a.produce()
	b.await("the last image", func() bool { return len(b.files("greencam1")) == 3 })
	stop()
	wantSummary(t, b.summary(), map[string]string{
		"captured": "8", "delivered": "3", "declared": "3", "trimmed": "0", "unknown (open gaps)": "1", "undeclared": "2",
		"duplicates": "0", "lost": "2",
	})
}
