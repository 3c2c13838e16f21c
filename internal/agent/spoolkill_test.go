package agent

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/pkg/frame"
	"framekeeper/pkg/outbox"
	"framekeeper/pkg/spool"
)

// moverSpool, in a test's environment, is the spool_dir of the process that gets
// killed while it begins: it prints "begin", opens its spool as an agent does, and
// prints how many frames it has found.
const moverSpool = "SPOOL_TEST_MOVE_TO"

func beginWithSpool(dir string) error {
	delivery := outbox.DefaultDelivery()
	delivery.SpoolDir = dir
	claim, err := outbox.TakeClaim("state", "greencam1", time.Now(), zerolog.Nop())
	if err != nil {
		return err
	}
	fmt.Println("begin")
	opened, err := openSpool(delivery, "greencam1", claim, outbox.NewLog(outbox.LogConfig{Camera: "greencam1", Limit: 1 << 20, Stream: 64 << 20, Claim: claim, Log: zerolog.Nop()}), zerolog.Nop())
	if err != nil {
		return err
	}
	fmt.Println("found", opened.store.Stats().Frames)
	select {}
}

// beginAndKill begins an agent in dir and kills it so long after it has begun;
// found is what it has printed, "" if it did not come so far.
func beginAndKill(t *testing.T, dir, spoolDir string, life time.Duration) (found string, took time.Duration) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), moverSpool+"="+spoolDir)
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var began time.Time
	var timer *time.Timer
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		switch line := lines.Text(); line {
		case "begin":
			began = time.Now()
			timer = time.AfterFunc(life, func() { _ = cmd.Process.Kill() })
		default:
			found, took = line, time.Since(began)
			timer.Reset(0)
		}
	}
	_ = cmd.Wait() // it was killed
	if timer == nil {
		t.Fatal("the agent did not begin")
	}
	timer.Stop()
	return found, took
}

// Wherever an agent is killed while it takes its frames to another spool_dir,
// the next start finds all of them, in one place.
func TestNoFrameIsLostWithAKilledMove(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := spool.Config{Dir: filepath.Join(dir, "a", "greencam1"), MaxBytes: 1 << 30, MinFree: -1, Log: zerolog.Nop()}
	s, _, err := spool.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for seq := range uint64(40) {
		id := frame.ID{Epoch: 7, Seq: 980 + seq} // two blocks
		m, err := frame.NewMessage(frame.Header{Camera: "greencam1", ID: id, Status: frame.StatusOK, Encoding: frame.JPEG}, make([]byte, 500))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Put(m); err != nil {
			t.Fatal(err)
		}
		want = append(want, id.String())
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	all := fmt.Sprintf("found %d", len(want))
	places := []string{"a", "b/c", "d"}
	if found, _ := beginAndKill(t, dir, places[0], time.Minute); found != all {
		t.Fatalf("at first: got %q, want %q", found, all)
	}
	found, whole := beginAndKill(t, dir, places[1], time.Minute)
	if found != all {
		t.Fatalf("in another place: got %q, want %q", found, all)
	}
	const kills = 24
	cut := 0
	for i := range kills {
		place := places[(i/2+2)%len(places)] // twice the same: the second goes on where the first was killed
		if found, _ := beginAndKill(t, dir, place, whole*time.Duration(i)/kills*3/2); found == "" {
			cut++
		}
		var holding []string
		for _, p := range places {
			if ids := spooled(t, filepath.Join(dir, p)); len(ids) > 0 {
				holding = append(holding, p)
				slices.Sort(ids)
				if !slices.Equal(ids, slices.Sorted(slices.Values(want))) {
					t.Fatalf("kill %d: %s has %d frames, want all %d", i, p, len(ids), len(want))
				}
			}
		}
		if len(holding) != 1 {
			t.Fatalf("kill %d: %q have frames, want one place", i, holding)
		}
		if i%2 == 1 {
			if found, _ := beginAndKill(t, dir, place, time.Minute); found != all {
				t.Fatalf("kill %d on the way to %s: the next start has %q, want %q; frames are in %s", i, place, found, all, strings.Join(holding, " "))
			}
		}
	}
	t.Logf("%d of %d kills came before the start was through, which takes %v", cut, kills, whole)
	if cut == 0 {
		t.Error("no kill came while an agent began")
	}
}
