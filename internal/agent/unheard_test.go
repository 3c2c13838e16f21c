package agent

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"framekeeper/internal/testkit"
	"framekeeper/pkg/frame"
)

// In delivery pubsub answers take IDs between those of the frames that wait for a
// subscriber. They were published: a later start declares none of them, and no frame
// but those that are known to be lost.
func TestAnswersBetweenSpooledFramesAreNotDeclared(t *testing.T) {
	testkit.NeedRedis(t)
	for name, ruin := range map[string]func(t *testing.T, files []string) int{
		"nothing is lost":      func(*testing.T, []string) int { return 0 },
		"the first is empty":   ruins["the first is empty"],
		"the last is empty":    ruins["the last is empty"],
		"they are too old":     ruins["they are too old"],
		"a second one is torn": ruins["one is torn"],
	} {
		for _, starts := range []int{0, 1} {
			t.Run(fmt.Sprintf("%s, %d starts without Redis", name, starts), func(t *testing.T) {
				t.Parallel()
				o := newOutage(t, "[delivery]\nmode = \"pubsub\"\nretain_bytes = \"96MiB\"\n", "source = \"test:\"\nwidth = 160\nheight = 120\nencoding = \"raw\"\npublish_fps = 10\n")
				stop, _ := startAgent(t, o.config)
				testkit.Eventually(t, "the link", func() bool { return current(t, o.server).Link.Sessions > 0 })
				for range 8 {
					o.server.Do("PUBLISH", "request/greencam1", `{"angle":7}`)
					time.Sleep(150 * time.Millisecond)
				}
				must(t, stop())
				files := o.files(t)
				if ids := frameIDs(files); len(ids) < 5 || ids[len(ids)-1].Seq-ids[0].Seq < uint64(len(ids)) {
					t.Fatalf("on disk are %v, want gaps for the answers", ids)
				}
				lost := ruin(t, files)
				if starts > 0 {
					o.cut()
					o.whileAway(t, false)
				}
				left := frameIDs(files)[lost:] // how many, which is what counts
				a := newAsker(t, o.server.URL())
				o.line.Accept()
				stop, log := startAgent(t, o.config)
				testkit.Eventually(t, "what waited", func() bool { return len(heardIDs(a, frame.StatusOK)) > len(left)+3 })
				must(t, stop())
				heard, declared := heardIDs(a, frame.StatusOK), uint64(0)
				for _, m := range a.messages() {
					if m.Header.Status == frame.StatusDropped {
						declared += m.Header.Count
					}
				}
				if declared != uint64(lost) {
					t.Errorf("%d frames are lost, %d declared\n%s", lost, declared, log)
				}
				for _, id := range frameIDs(files) {
					if lost == 0 && !slices.Contains(heard, id) {
						t.Errorf("%s was never published", id)
					}
				}
			})
		}
	}
}

func heardIDs(a *asker, status frame.Status) (ids []frame.ID) {
	for _, m := range a.messages() {
		if m.Header.Status == status {
			ids = append(ids, m.Header.ID)
		}
	}
	return ids
}
