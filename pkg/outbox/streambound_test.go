package outbox

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/frame"
)

// entryBytes adds up what the bound is meant for.
func entryBytes(t *testing.T, server *redistest.Server) (n, bytes, largest int64) {
	t.Helper()
	entries, err := server.Client().XRange(context.Background(), testKey, "-", "+").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		size := int64(entryOverhead)
		for _, v := range e.Values {
			size += int64(len(v.(string)))
		}
		n, bytes, largest = n+1, bytes+size, max(largest, size)
	}
	return n, bytes, largest
}

// Neither frames that become larger nor small ones, nor a Redis whose nodes are so large
// that "~" never trims, take the stream far from its bound.
func TestTheStreamIsBoundByBytes(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	const bound = 300_000
	for _, node := range []string{"default", "0"} {
		server := redistest.Start(t)
		if node != "default" {
			server.ConfigSet("stream-node-max-bytes", node)
			server.ConfigSet("stream-node-max-entries", node)
		}
		w := newWriter(t, testkit.Fast(server.URL()), 100, 1<<20)
		w.frames.mu.Lock()
		w.frames.bound.max = bound
		w.frames.mu.Unlock()
		for _, size := range []int{300, 5_000, 50_000, 300, 20_000} {
			w.image = make([]byte, size)
			for range 300_000/size + 40 {
				w.add(t, 1)
			}
			w.drain(t)
			n, bytes, largest := entryBytes(t, server)
			if bytes > bound || bytes < bound-largest-1000 {
				t.Errorf("node %s, frames of %d bytes: the stream has %d bytes in %d entries, want %d less one entry", node, size, bytes, n, bound)
			}
		}
	}
}

// The entries of earlier starts are trimmed little by little, as new ones come.
func TestEntriesOfEarlierStartsAreTrimmedInTheirTurn(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	const bound = 200_000
	bounded := func(w *writer) {
		w.image = make([]byte, 4_000)
		w.frames.mu.Lock()
		w.frames.bound.max = bound
		w.frames.mu.Unlock()
	}
	first := newWriter(t, testkit.Fast(server.URL()), 100, 1<<20)
	bounded(first)
	first.add(t, 100)
	first.drain(t)
	first.Stop()
	before, _, _ := entryBytes(t, server)
	second := newWriter(t, testkit.Fast(server.URL()), 200, 1<<20)
	bounded(second)
	for n := range 60 {
		second.add(t, 1)
		second.drain(t)
		got, bytes, _ := entryBytes(t, server)
		if bytes > bound+6_000 || got < before-3 {
			t.Fatalf("after %d frames of the second start %d entries of %d bytes, want about the %d before", n+1, got, bytes, before)
		}
	}
	if floor := second.frames.snapshot().floor; floor.Epoch != 200 {
		t.Errorf("the first start's entries are gone, and the trim bound is %s", floor)
	}
}

// What was trimmed is not declared when Redis loses the rest.
func TestWhatWasTrimmedIsNotDeclared(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	w := newWriter(t, testkit.Fast(server.URL()), 100, 40_000) // memory for about nine
	w.image = make([]byte, 4_000)
	w.frames.mu.Lock()
	w.frames.bound.max = 100_000 // 20
	w.frames.mu.Unlock()
	w.add(t, 9)
	w.drain(t)
	for range 50 {
		w.add(t, 1)
		w.drain(t)
	}
	had := statuses(t, server.Client())
	server.Do("FLUSHALL")
	w.add(t, 1)
	w.drain(t)
	got := statuses(t, server.Client())
	var first, last uint64
	if n, err := parseDropped(got[0], &first, &last); n != 2 || err != nil || fmt.Sprint(first) != had[0] || got[len(got)-1] != "60" {
		t.Errorf("the stream had %v, and has %v after it was lost, want a declaration of what it had and memory has not", had, got)
	}
	for _, s := range got[1:] {
		if strings.HasPrefix(s, string(frame.StatusDropped)) {
			t.Errorf("%q is declared as well: %v", s, got)
		}
	}
}

// A copy that is older than what the stream was trimmed to leaves no gap behind it.
func TestACopyOlderThanTheTrimBound(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	w := newWriter(t, testkit.Fast(server.URL()), 100, 1<<20)
	w.frames.mu.Lock()
	w.frames.bound.max = 30_000
	w.frames.mu.Unlock()
	w.add(t, 10)
	w.drain(t)
	dump := server.Client().Dump(t.Context(), testKey).Val()
	w.add(t, 90)
	w.drain(t)
	floor := w.frames.snapshot().floor
	if err := server.Client().RestoreReplace(t.Context(), testKey, 0, dump).Err(); err != nil {
		t.Fatal(err)
	}
	before := w.Status().Sessions
	server.KillClients("normal")
	testkit.Eventually(t, "another session", func() bool { return w.Status().Sessions > before })
	w.add(t, 5)
	w.drain(t)
	got := statuses(t, server.Client())
	for i, s := range got {
		if want := fmt.Sprint(106 - len(got) + i); s != want {
			t.Fatalf("the stream has %v, want frames up to 105 without a gap, none of the copy; the trim bound was %s", got, floor)
		}
	}
}

// Where Redis frees nothing that is trimmed, the bound cannot hold, and that is said.
func TestAStreamThatDoesNotShrinkIsReported(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	server.ConfigSet("stream-node-max-bytes", "0")
	server.ConfigSet("stream-node-max-entries", "0")
	w := newWriter(t, testkit.Fast(server.URL()), 100, 1<<20)
	w.image = make([]byte, 100_000)
	w.frames.cfg.Stream = 1 << 20
	w.frames.mu.Lock()
	w.frames.bound.max = 1 << 20
	w.frames.mu.Unlock()
	const message = "this Redis does not free what is trimmed"
	testkit.Eventually(t, "it is reported", func() bool {
		w.add(t, 8)
		w.drain(t)
		return strings.Contains(w.agent.String(), message)
	})
	for range 5 {
		w.add(t, 8)
		w.drain(t)
	}
	if n := strings.Count(w.agent.String(), message); n != 1 {
		t.Errorf("reported %d times, want once", n)
	}
}
