package spool

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"framekeeper/pkg/frame"
)

// writeUntilKilled is the life of the process that gets killed: it spools into
// its working directory. It says on its standard output "P <id>" after each
// Put, "S <id>" after each Sync and "R <id>" before each Remove.
func writeUntilKilled() error {
	s, losses, err := Open(config("."))
	if err != nil || len(losses) > 0 {
		return fmt.Errorf("lost %v, %w", losses, err)
	}
	last := id(s.Stats().Newest.Epoch+1, 990) // a new block soon
	for n := 1; ; n++ {
		last = last.Next()
		if losses, err := s.Put(message(last, killSize(last))); err != nil || len(losses) > 0 {
			return fmt.Errorf("lost %v, %w", losses, err)
		}
		fmt.Println("P", last)
		if n%3 == 0 {
			if _, err := s.Sync(); err != nil {
				return err
			}
			fmt.Println("S", last)
		}
		if ids := s.IDs(frame.ID{}, 25); len(ids) == 25 {
			fmt.Println("R", ids[8])
			if err := s.Remove(ids[8]); err != nil {
				return err
			}
		}
	}
}

// killSize is large, so that the kill often hits in the middle of a file.
func killSize(id frame.ID) int { return 500_000 + sizeOf(id) }

func sizeOf(id frame.ID) int { return int(id.Seq*7919%50000) + 1 }

// journal is what a killed process had said.
type journal struct {
	put     []frame.ID
	removed frame.ID // up to here, perhaps
}

// runAndKill runs one writer for a moment and kills it with SIGKILL.
func runAndKill(t *testing.T, dir string, life time.Duration) journal {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "SPOOL_TEST_WRITER=1")
	cmd.Dir = dir
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var j journal
	var timer *time.Timer
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if timer == nil { // it lives from its first frame on
			timer = time.AfterFunc(life, func() { _ = cmd.Process.Kill() })
			defer timer.Stop()
		}
		kind, text, _ := strings.Cut(lines.Text(), " ")
		id, err := frame.ParseID(text)
		switch {
		case err != nil:
			t.Errorf("the writer says %q", lines.Text())
		case kind == "P":
			j.put = append(j.put, id)
		case kind == "R":
			j.removed = id
		}
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != -1 {
		t.Fatalf("the writer ended by itself: %v", err)
	}
	return j
}

func TestKilledWriter(t *testing.T) {
	dir := t.TempDir()
	expect := map[frame.ID]bool{} // whatever was Put, synced or not: only power cuts need Sync
	inFlight, temps := 0, 0
	for round := range 20 {
		j := runAndKill(t, dir, time.Duration(rand.IntN(40))*time.Millisecond)
		for _, i := range j.put {
			expect[i] = true
		}
		if _, err := os.Stat(filepath.Join(dir, tempName)); err == nil {
			temps++
		}
		s := mustOpen(t, config(dir)) // fails if anything was lost
		extra := 0
		held := map[frame.ID]bool{}
		for _, i := range allIDs(s) {
			held[i] = true
			mustHold(t, s, message(i, killSize(i)))
			if !expect[i] {
				expect[i] = true
				extra++
			}
		}
		for i := range expect {
			if !held[i] && j.removed.Less(i) {
				t.Errorf("round %d: %s was Put and is not held", round, i)
			}
			if !held[i] {
				delete(expect, i)
			}
		}
		if extra > 1 {
			t.Errorf("round %d: %d frames are held that were not reported, want at most the one in hand", round, extra)
		}
		inFlight += extra
		if _, err := os.Stat(filepath.Join(dir, tempName)); err == nil {
			t.Errorf("round %d: the temporary file is still there", round)
		}
		if st := s.Stats(); st.Bytes != diskBytes(t, dir) {
			t.Errorf("round %d: %d bytes are held, %d are on disk", round, st.Bytes, diskBytes(t, dir))
		}
		mustClose(t, s)
	}
	t.Logf("%d frames held at the end; killed %d times between rename and report, %d times in the middle of a file", len(expect), inFlight, temps)
	if len(expect) == 0 {
		t.Error("no frame was ever put")
	}
}
