package outbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/renameio/v2"
	"github.com/rs/zerolog"

	"framekeeper/internal/files"
)

const (
	// journalInterval is how often the journal is written at most, but for starts,
	// ends and changed IDs: an SD card must last. 51 an hour.
	journalInterval = 70 * time.Second
	journalTick     = time.Second
	journalMax      = 256 << 10 // bytes at which it is compacted
	journalLimit    = 16 << 20  // bytes that are read
)

// stateFile is a file of a camera below state_dir.
type stateFile interface {
	Read() ([]byte, error)     // fs.ErrNotExist if there is none
	Append(line []byte) error  // at the end
	Sync() error               // what was appended outlives a power cut
	Replace(all []byte) error  // atomic and durable when it returns nil
	SetAside() (string, error) // one that cannot be used
}

// Journal saves what is known of a camera's IDs over all its starts (see ledger):
// checksummed lines in state_dir/<camera>/journal. Every line is absolute, so that a
// lost tail costs only what is newer. A line is written and synced when an epoch is
// opened, closed in order, or given other IDs, and otherwise every 70 s if there is
// something new. Damaged lines and a torn tail are passed over.
//
// While the file cannot be written, what would be written is retained and tried
// again; the epoch then depends on the clock, and a start after a kill knows of
// losses only what the stream and the spool show.
type Journal struct {
	file stateFile
	log  zerolog.Logger

	mu      sync.Mutex          // guards all below; held during I/O
	written map[string]struct{} // the lines in the file
	size    int
	last    time.Time // of the last write
	failure string    // that was logged
	start   ledger    // as it was read
	unread  bool      // the file could not be read: it is only appended to, and the next start reads all of it
}

// openJournal reads a journal. One that cannot be read is nil information: the log
// starts from what else there is.
func openJournal(file stateFile, log zerolog.Logger) *Journal {
	j := &Journal{file: file, log: log, written: map[string]struct{}{}}
	text, err := file.Read()
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			log.Error().Err(err).Msg("The journal cannot be read; what earlier starts lost is declared as far as the stream and the spool show it")
			j.unread = true
		}
		return j
	}
	damaged := 0
	j.start, damaged = parseLedger(text)
	if damaged > 0 && len(j.start.epochs) == 0 {
		aside, err := file.SetAside()
		log.Warn().AnErr("error", err).Str("set_aside", aside).Msg("The journal is damaged; the agent starts without it")
	} else if damaged > 1 { // one is a torn tail
		log.Warn().Int("lines", damaged).Msg("The journal has damaged lines, which are passed over")
	}
	return j
}

// save writes what is new of a ledger and syncs it; compact writes all of it anew.
func (j *Journal) save(l ledger, now time.Time, compact bool) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.last = now
	all, fresh := l.lines(), []byte(nil)
	for _, line := range all {
		if _, known := j.written[line]; !known {
			fresh = append(fresh, line...)
		}
	}
	if len(fresh) == 0 && (!compact || j.unread) {
		return nil
	}
	var err error
	if j.unread {
		err = j.append(append([]byte("\n"), fresh...)) // which ends a torn line
		j.unread = !errors.Is(err, fs.ErrNotExist)
	}
	switch compact = compact || j.size+len(fresh) > journalMax || j.failure != ""; {
	case j.unread:
		compact = false
	case compact || errors.Is(err, fs.ErrNotExist):
		compact, fresh, j.written = true, nil, map[string]struct{}{}
		for _, line := range all {
			fresh = append(fresh, line...)
		}
		err = j.file.Replace(fresh)
	default:
		err = j.append(fresh)
	}
	if err != nil {
		j.written = map[string]struct{}{} // unknown: the next one writes all
		j.logFailure(err)
		return fmt.Errorf("write journal: %w", err)
	}
	if compact {
		j.size = 0
	}
	j.size += len(fresh)
	for _, line := range all {
		j.written[line] = struct{}{}
	}
	if j.failure != "" {
		j.failure = ""
		j.log.Info().Msg("The journal can be written again")
	}
	return nil
}

func (j *Journal) append(lines []byte) error {
	if err := j.file.Append(lines); err != nil {
		return err
	}
	return j.file.Sync()
}

// due reports whether it is time to write what is new.
func (j *Journal) due(now time.Time) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	since := now.Sub(j.last)
	return since >= journalInterval || since < 0
}

func (j *Journal) logFailure(err error) {
	if j.failure == "" {
		j.log.Error().Err(err).Msg("The journal cannot be written: after a kill or a power cut, what was lost before it is not declared, " +
			"only that frames may be missing; make state_dir writable")
	}
	j.failure = err.Error()
}

// Run saves what is new of a log's ledger until ctx ends.
func (j *Journal) Run(ctx context.Context, l *Log) error {
	tick := time.NewTicker(journalTick)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			j.tick(l, now)
		case <-ctx.Done():
			return nil
		}
	}
}

// tick is one step of Run.
func (j *Journal) tick(l *Log, now time.Time) {
	if j.due(now) {
		_ = j.save(l.snapshot(), now, false) // logged; tried again
	}
}

// diskFile is one in the file system.
type diskFile struct{ path string }

func (d diskFile) Read() ([]byte, error) {
	f, err := files.OpenOwn(d.path, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read from
	return io.ReadAll(io.LimitReader(f, journalLimit))
}

func (d diskFile) Append(line []byte) error {
	f, err := files.OpenOwn(d.path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(line)
	return errors.Join(err, f.Close())
}

func (d diskFile) Sync() error {
	f, err := files.OpenOwn(d.path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func (d diskFile) Replace(all []byte) error {
	if err := renameio.WriteFile(d.path, all, 0o640); err != nil {
		return err
	}
	return files.SyncDir(filepath.Dir(d.path))
}

func (d diskFile) SetAside() (string, error) {
	aside := d.path + ".corrupt"
	return aside, os.Rename(d.path, aside)
}
