package outbox

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/frame"
)

// What Redis never accepts is declared, in its place, and everything else flows.
func TestWhatRedisNeverAcceptsIsDeclared(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	for _, by := range limits {
		for _, mode := range []Mode{ModeStream, ModeBoth, ModePubSub} {
			t.Run(by+"/"+string(mode), func(t *testing.T) {
				t.Parallel()
				server, url := limited(t, by)
				s := newSender(t, testkit.Unhurried(url), mode, nil)
				s.AwaitLive(t)
				heard := hear(t, server.Client())
				s.add(t, 1000, "")
				s.drain(t)
				began := time.Now()
				s.add(t, 1000, "")
				s.add(t, raw720, "")
				s.add(t, 1000, "")
				s.add(t, raw720, `{"id":"large"}`)
				s.add(t, 1000, `{"id":"small"}`)
				s.drain(t)
				took := time.Since(began)
				lines, outages := s.lines(), s.Status().Outages
				t.Logf("%s, %s: declared after %s, %d outages, %d log lines", by, mode, took.Round(time.Millisecond), outages, lines)
				if took > 5*time.Second || outages > 2 || lines > 10 {
					t.Errorf("%s, %d outages, %d log lines; want at most 5s, 2, 10", took, outages, lines)
				}
				failed := heard.await(t, "the asker gets an error", func(h frame.Header) bool { return h.Status == frame.StatusError })
				if string(failed.Request) != `{"id":"large"}` || !strings.Contains(failed.Error, "does not accept a message of 27") {
					t.Errorf("the asker gets %+v, want the size and the request", failed)
				}
				heard.await(t, "the other answer", seq(6))
				s.expectPoison(t, server, heard)

				for range 20 { // all the time from now on
					s.add(t, raw720, "")
				}
				s.add(t, 1000, "")
				s.drain(t)
				if now := s.lines(); now != lines || s.Status().Outages != outages {
					t.Errorf("%d outages and %d lines later, want none: the ceiling is known", s.Status().Outages-outages, now-lines)
				}
				want := uint64(22)
				if !mode.Streams() {
					want = 21 // the answer is not logged
				}
				if got := s.frames.Losses()["too_large"]; got != want {
					t.Errorf("%d frames are counted as too large, want %d", got, want)
				}
			})
		}
	}
}

// expectPoison checks that frames 3 and 5 of 6 were too large.
func (s *sender) expectPoison(t *testing.T, server *redistest.Server, heard *hearing) {
	t.Helper()
	if s.mode.Streams() {
		expect(t, statuses(t, server.Client()), "started", "1", "2", "dropped 3-3", "4", "dropped 5-5", "6")
		entry, err := server.Client().XRange(context.Background(), testKey, "100-3", "100-3").Result()
		if err != nil || len(entry) != 1 || !strings.Contains(fmt.Sprint(entry[0].Values["header"]), "does not accept a message of 27") {
			t.Errorf("the declaration is %v, %v; want the size in its reason", entry, err)
		}
	} else {
		lost := heard.await(t, "the loss is declared on the channel", func(h frame.Header) bool { return h.Status == frame.StatusDropped })
		if lost.First != id(100, 3) || lost.Last != id(100, 3) || !strings.Contains(lost.Reason, "does not accept a message of 27") {
			t.Errorf("declared is %+v, want frame 3 and its size", lost)
		}
	}
	if s.mode.Publishes() {
		for _, n := range []uint64{2, 4} {
			heard.await(t, fmt.Sprintf("frame %d on the channel", n), seq(n))
		}
	}
	if m := heard.one(func(h frame.Header) bool { return h.Status == frame.StatusError && h.Request == nil }); m != nil {
		t.Errorf("nobody asked, and the channel has %+v", m.Header)
	}
}

// Sizes that vary around the limit end a few sessions, until the ceiling is known
// well enough, and not one each.
func TestSizesAroundTheLimit(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	for _, by := range limits {
		t.Run(by, func(t *testing.T) {
			t.Parallel()
			server, url := limited(t, by)
			s := newSender(t, testkit.Unhurried(url), ModeStream, nil)
			s.AwaitLive(t)
			rnd := rand.New(rand.NewPCG(1, 2))
			n := 0
			for _, spread := range []int{300_000, 3000, 500} {
				for range 30 {
					n++
					s.add(t, mib-1500+rnd.IntN(spread)-spread/2, "")
					s.add(t, 1000, "")
					s.drain(t)
				}
			}
			losses, outages := s.frames.Losses()["too_large"], s.Status().Outages
			t.Logf("%s: %d of %d frames around the limit are declared, %d outages, %d log lines", by, losses, n, outages, s.lines())
			if outages > 6 {
				t.Errorf("%d outages, want at most 6", outages)
			}
			if losses == 0 || losses > uint64(n)*2/3 {
				t.Errorf("%d of %d frames are declared, want about a third", losses, n)
			}
			expectNothingUndeclared(t, server.Client(), s.frames.Stats().Newest.Seq)
		})
	}
}

// An item that is on disk already when an agent starts is found in the same way.
func TestWhatRedisNeverAcceptsIsFoundOnDisk(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	for _, by := range limits {
		t.Run(by, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			before := newSpooled(t, dir, 100, 64<<20, 256<<20, false)
			for _, size := range []int{1000, raw720, raw720, 1000} {
				before.image = make([]byte, size)
				before.add(t, 1)
			}
			testkit.Eventually(t, "all is on disk", func() bool { _, all := before.Persisted(); return all })
			before.stop()

			server, url := limited(t, by)
			after := newSpooled(t, dir, 101, 64<<20, 256<<20, false)
			s := newSender(t, testkit.Unhurried(url), ModeStream, after.Log)
			s.AwaitLive(t)
			began := time.Now()
			s.add(t, 1000, "")
			s.drain(t)
			took := time.Since(began)
			t.Logf("%s: declared after %s, %d outages, %d log lines", by, took.Round(time.Millisecond), s.Status().Outages, s.lines())
			if took > 5*time.Second || s.Status().Outages > 2 || s.lines() > 10 {
				t.Errorf("%s, %d outages, %d log lines; want at most 5s, 2, 10", took, s.Status().Outages, s.lines())
			}
			expect(t, statuses(t, server.Client()), "1", "dropped 2-2", "dropped 3-3", "4", "started", "1")
			testkit.Eventually(t, "nothing is left on disk", func() bool { return after.spooler.Stats().Frames == 0 })
		})
	}
}
