package outbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/testkit"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/spool"
)

// full is a ledger that has something of everything.
func full() ledger {
	l := ledger{floor: id(100, 7)}
	l.give(id(100, 40))
	l.delivered(id(100, 30))
	l.open(100).closed = true
	l.give(id(200, 5))
	l.open(300).blind = true
	l.moved(move{file: 90, minus: 3, epoch: 200})
	l.addLoss(id(100, 31), id(100, 33), spool.ReasonAge)
	l.addLoss(id(100, 36), id(100, 36), reasonMemory)
	return l
}

func text(l ledger) string { return strings.Join(l.lines(), "") }

func TestALedgerSurvivesItsLines(t *testing.T) {
	want := full()
	got, damaged := parseLedger([]byte(text(want)))
	if damaged != 0 || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v (%d damaged), want %+v", got, damaged, want)
	}
}

// Cut anywhere, a journal has all whole lines; and any damaged byte costs one line at
// most.
func TestTornAndDamagedLinesArePassedOver(t *testing.T) {
	whole := text(full())
	lines := strings.Count(whole, "\n")
	for cut := range len(whole) {
		got, damaged := parseLedger([]byte(whole[:cut]))
		kept := strings.Count(whole[:cut], "\n")
		if torn := cut > 0 && whole[cut-1] != '\n'; damaged != 0 != torn || len(got.lines()) > kept {
			t.Fatalf("cut at %d: %d damaged, %d lines, want %d", cut, damaged, len(got.lines()), kept)
		}
	}
	for at := range len(whole) {
		b := []byte(whole)
		b[at] ^= 0x20
		got, damaged := parseLedger(b)
		if damaged < 1 || damaged > 2 || len(got.lines()) < lines-2 { // a damaged line's end takes the next line along
			t.Fatalf("byte %d damaged: %d lines damaged, %d left of %d", at, damaged, len(got.lines()), lines)
		}
	}
}

func FuzzParseLedger(f *testing.F) {
	f.Add([]byte(text(full())))
	f.Add([]byte(record{Type: recordEpoch, Epoch: 1<<64 - 1, Given: 1<<64 - 1}.line()))
	f.Add([]byte(record{Type: recordLost, First: id(5, 9), Last: id(5, 3)}.line()))
	f.Add([]byte(record{Type: recordLost, First: id(5, 0), Last: id(5, 1<<64-1)}.line()))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, _ := parseLedger(b)
		if len(l.epochs) > maxEpochs || len(l.moves) > maxMoves || len(l.losses) > maxSpans {
			t.Errorf("%d epochs, %d moves, %d losses, want bounds", len(l.epochs), len(l.moves), len(l.losses))
		}
		l.next(noon)
		again, damaged := parseLedger([]byte(text(l)))
		if damaged > 0 || len(again.epochs) != len(l.epochs) {
			t.Errorf("got %+v back, want %+v", again, l)
		}
	})
}

// Whatever a start finds in the file: it gives IDs that were not given before, and what
// it then saves the next start reads, even if its last write was torn.
func FuzzJournal(f *testing.F) {
	f.Add([]byte(text(full())), uint16(3), uint16(20))
	f.Add([]byte(text(full())[:200]), uint16(1000), uint16(0))
	f.Add([]byte(record{Type: recordEpoch, Epoch: 1<<64 - 1, Given: 1<<64 - 1}.line()), uint16(1), uint16(1))
	f.Add([]byte(record{Type: recordLost, First: id(5, 9), Last: id(5, 12)}.line()+"torn"), uint16(1), uint16(9))
	f.Fuzz(func(t *testing.T, b []byte, frames, cut uint16) {
		file := &memoryFile{text: b}
		l := openJournal(file, zerolog.Nop()).start.clone()
		epoch := l.next(noon)
		if i, known := l.find(epoch); known && l.epochs[i].number < 1<<64-1 {
			t.Fatalf("epoch %d was given before: %+v", epoch, l.epochs)
		}
		j := openJournal(file, zerolog.Nop())
		l.open(epoch)
		if err := j.save(l.clone(), noon, true); err != nil {
			t.Fatal(err)
		}
		whole := len(file.text)
		l.give(id(epoch, uint64(frames)))
		if err := j.save(l.clone(), noon, false); err != nil {
			t.Fatal(err)
		}
		file.text = file.text[:max(whole, len(file.text)-int(cut))]
		again := openJournal(file, zerolog.Nop()).start
		if i, known := again.find(epoch); !known || cut == 0 && again.epochs[i].given < uint64(frames) {
			t.Errorf("epoch %d with %d frames: got %+v back, want %+v", epoch, frames, again.epochs, l.epochs)
		}
	})
}

// memoryFile is a file that counts what a disk would do.
type memoryFile struct {
	text    []byte
	syncs   int
	failure error
}

func (f *memoryFile) Read() ([]byte, error) {
	if f.text == nil {
		return nil, os.ErrNotExist
	}
	return f.text, nil
}

func (f *memoryFile) Append(line []byte) error {
	if f.failure == nil {
		f.text = append(f.text, line...)
	}
	return f.failure
}

func (f *memoryFile) Sync() error { f.syncs++; return f.failure }

func (f *memoryFile) Replace(all []byte) error {
	f.syncs += 2 // the file, and its directory
	if f.failure == nil {
		f.text = slices.Clone(all)
	}
	return f.failure
}

func (f *memoryFile) SetAside() (string, error) { f.text = nil; return "aside", nil }

// An SD card has to last: whatever happens, no more than 60 syncs an hour.
func TestTheJournalSyncsSeldom(t *testing.T) {
	for name, failure := range map[string]error{"a working disk": nil, "a full one": syscall.ENOSPC} {
		file, log := &memoryFile{}, &testkit.Log{}
		j := openJournal(file, zerolog.New(log))
		l := newLog(100, 4000, zerolog.Nop())
		if err := j.save(l.snapshot(), noon, true); err != nil {
			t.Fatal(err)
		}
		file.failure, file.syncs = failure, 0
		for second := range 3600 {
			addFrames(t, l, 30) // and most are lost at once
			switch second % 3 {
			case 0:
				l.resume(id(100, l.Stats().Newest.Seq/2))
			case 1:
				l.resume(frame.ID{})
			}
			j.tick(l, noon.Add(time.Duration(second)*time.Second))
		}
		if file.syncs > 60 && failure == nil || file.syncs > 120 {
			t.Errorf("%s: %d syncs in an hour at 30 frames a second, want at most 60", name, file.syncs)
		}
		t.Logf("%s: %d syncs and %d bytes in an hour", name, file.syncs, len(file.text))
		if failure == nil {
			if got, _ := parseLedger(file.text); got.newestBefore(101).Seq < 100_000 {
				t.Errorf("%s: the journal has %+v", name, got.epochs)
			}
			continue
		}
		if n := len(log.Messages()); n != 1 {
			t.Errorf("%s: logged %d times, want once: %s", name, n, log)
		}
		file.failure = nil
		j.tick(l, noon.Add(2*time.Hour))
		if got, _ := parseLedger(file.text); got.newestBefore(101) != l.Stats().Newest {
			t.Errorf("%s: after it works again the journal has %+v", name, got.epochs)
		}
	}
}

// A journal of months is read in a moment, for it is compacted.
func TestTheJournalStaysSmall(t *testing.T) {
	file := &memoryFile{}
	j := openJournal(file, zerolog.Nop())
	l := ledger{}
	for n := range uint64(20_000) {
		l.give(id(100+n/1000, n))
		l.raiseFloor(id(100+n/1000, n/2))
		l.delivered(id(100+n/1000, n))
		if err := j.save(l.clone(), noon, false); err != nil {
			t.Fatal(err)
		}
		if len(file.text) > journalMax+maxLine {
			t.Fatalf("the journal has %d bytes", len(file.text))
		}
	}
	if got, damaged := parseLedger(file.text); damaged > 0 || got.floor != l.floor {
		t.Errorf("got %+v, want floor %s", got, l.floor)
	}
}

// stateOfYesterday is what a program without a journal has left.
func stateOfYesterday(t *testing.T, dir, state string) {
	t.Helper()
	path := filepath.Join(dir, "testcam", stateName)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o750), os.WriteFile(path, []byte(state), 0o600)); err != nil {
		t.Fatal(err)
	}
}

func TestAStateWithoutAJournalIsTakenOver(t *testing.T) {
	for state, want := range map[string]struct {
		previous frame.ID
		clean    bool
	}{
		`{"epoch":500,"last":"500-42","clean":true,"owner":"me","spool":"/data/spool"}`: {id(500, 42), true},
		`{"epoch":500,"last":"490-3","clean":false,"owner":"me"}`:                       {id(490, 3), false},
	} {
		dir := t.TempDir()
		stateOfYesterday(t, dir, state)
		c, _ := claim(t, dir, time.Unix(100, 0))
		previous, clean := c.before()
		if c.Epoch != 501 || previous != want.previous || clean != want.clean || c.StateID != "me" {
			t.Errorf("%s: got epoch %d, previous %s, clean %v, want 501 and %+v", state, c.Epoch, previous, clean, want)
		}
	}
}

// A program of yesterday that is started in between goes on above our epoch, and we
// above its.
func TestAnOlderProgramMayRunInBetween(t *testing.T) {
	dir := t.TempDir()
	first, _ := claim(t, dir, noon)
	first.end(id(first.Epoch, 9), true)
	b, err := os.ReadFile(filepath.Join(dir, "testcam", stateName))
	if err != nil {
		t.Fatal(err)
	}
	var saved savedState
	if err := frame.Decode(b, &saved); err != nil || saved.Epoch != first.Epoch || saved.Last != id(first.Epoch, 9) || !saved.Clean {
		t.Fatalf("state.json is %s (%v), want epoch, last ID and a clean end", b, err)
	}
	stateOfYesterday(t, dir, fmt.Sprintf(`{"epoch":%d,"last":"%d-7","clean":true}`, first.Epoch+10, first.Epoch+10))
	next, _ := claim(t, dir, noon)
	if previous, clean := next.before(); next.Epoch != first.Epoch+11 || previous != id(first.Epoch+10, 7) || !clean {
		t.Errorf("got epoch %d, previous %s, clean %v", next.Epoch, previous, clean)
	}
	if end := next.ledger.sent(first.Epoch); end.Epoch != first.Epoch {
		t.Errorf("the journal has forgotten %d", first.Epoch)
	}
}

// Whoever cannot write its state says what that costs.
func TestAReadOnlyStateDirectorySaysWhatIsNotPromised(t *testing.T) {
	file, log := &memoryFile{failure: syscall.EROFS}, &testkit.Log{}
	j := openJournal(file, zerolog.New(log))
	l := newLog(100, 1<<20, zerolog.Nop())
	if err := j.save(l.snapshot(), noon, true); !errors.Is(err, syscall.EROFS) {
		t.Errorf("got %v, want %v", err, syscall.EROFS)
	}
	for _, want := range []string{"after a kill or a power cut", "not declared", "make state_dir writable"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log has no %q: %s", want, log)
		}
	}
	file.failure = nil
	j.tick(l, noon.Add(time.Hour))
	if !strings.Contains(log.String(), "The journal can be written again") || len(file.text) == 0 {
		t.Errorf("it was not made up for: %s", log)
	}
}
