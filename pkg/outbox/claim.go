package outbox

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/files"
	"framekeeper/pkg/frame"
)

var errUnreadable = errors.New("the saved state cannot be read")

// ErrClaimed says that another agent serves this camera.
var ErrClaimed = errors.New("another cam-agent serves this camera")

const (
	stateName   = "state.json"
	journalName = "journal"
)

// savedState is state_dir/<camera>/state.json.
type savedState struct {
	Epoch   uint64   `json:"epoch"` // the last one used
	Last    frame.ID `json:"last"`  // the last ID known to be durable at the last orderly end
	Clean   bool     `json:"clean"` // the agent had ended in order
	StateID string   `json:"owner"` // identifies this state directory to other boxes
	Spool   string   `json:"spool"` // the spool's directory; "" if unknown
}

// Claim is this process's claim to a camera: a lock, an epoch that no start before it
// used, and what the start before left. One goroutine uses it; only Complete and
// Locked may be called beside that.
type Claim struct {
	Instance   string // this process
	StateID    string // this state directory
	Epoch      uint64 // of this start
	EpochSaved bool   // the state directory could be written at the start
	Spool      string // the directory of the spool of the start before; "" if unknown

	dir     string    // state_dir/<camera>
	state   stateFile // state.json there
	journal *Journal
	ledger  ledger // of the journal, with this start's epoch
	unread  bool   // state.json could not be read at the start
	last    frame.ID
	now     func() time.Time
	log     zerolog.Logger

	mu    sync.Mutex // guards what is saved, Epoch and Spool too, and all below
	lock  *os.File   // nil: not locked
	floor uint64     // an epoch that somebody has used: none below it is saved
	stale bool       // what is saved may be more than was read at the start
}

// TakeClaim takes the camera's lock in stateDir and begins a new epoch there. A
// directory that cannot be written is logged, not fatal: an SD card that has become
// read-only must not end the frames.
func TakeClaim(stateDir, camera string, now time.Time, log zerolog.Logger) (*Claim, error) {
	c := &Claim{
		Instance: frame.NewRequestID(), StateID: frame.NewRequestID(),
		dir: filepath.Join(stateDir, camera), now: time.Now, log: log,
	}
	if err := c.takeLock(); err != nil {
		if errors.Is(err, ErrClaimed) {
			return nil, err
		}
		log.Error().Err(err).Str("state_dir", stateDir).
			Msg("The agent has no lock and no saved epoch: state_dir cannot be written; make it writable")
	}
	c.begin(diskFile{filepath.Join(c.dir, stateName)}, diskFile{filepath.Join(c.dir, journalName)}, now)
	return c, nil
}

// begin reads what the last start left, and begins a new epoch.
func (c *Claim) begin(state, journal stateFile, now time.Time) {
	c.state = state
	saved, readable := c.load()
	c.unread, c.stale = !readable, !readable || c.lock == nil
	c.Spool, c.last, c.StateID = saved.Spool, saved.Last, cmp.Or(saved.StateID, c.StateID)
	c.journal = openJournal(journal, c.log)
	c.ledger = c.journal.start
	c.ledger.merge(saved)
	c.Epoch = c.ledger.next(now)
	c.ledger.open(c.Epoch)
	if c.lock != nil && readable { // else Complete is to do it
		l := c.ledger.clone()
		l.open(c.Epoch).blind = true // until its log has the spool
		err := cmp.Or(c.save(nil), c.journal.save(l, c.now(), true))
		if c.EpochSaved = err == nil; err != nil {
			c.log.Error().Err(err).Msg("The epoch cannot be saved: IDs depend on the clock alone")
		}
	}
}

// MayHaveSpool reports whether frames of an earlier start may be in a spool: one is
// saved, or nobody knows.
func (c *Claim) MayHaveSpool() bool { return c.Spool != "" || c.unread }

// merge takes over what an earlier program saved, which kept no journal.
func (l *ledger) merge(s savedState) {
	if _, known := l.find(s.Epoch); known || s.Epoch == 0 {
		return
	}
	journaled := len(l.epochs) > 0
	if _, known := l.find(s.Last.Epoch); !known && !s.Last.Less(l.floor) { // else it was forgotten: trimmed, or moved
		l.give(s.Last)
	}
	e := l.open(s.Epoch)
	e.closed = s.Clean
	e.blind = journaled // a start that could not write the journal, or an older program: it may not have had the spool
}

// next is the epoch of a new start.
func (l *ledger) next(now time.Time) uint64 {
	next := uint64(max(now.Unix(), 1)) //nolint:gosec // not negative
	if n := len(l.epochs); n > 0 && l.epochs[n-1].number < math.MaxUint64 {
		next = max(next, l.epochs[n-1].number+1)
	}
	for _, m := range l.moves { // a start that did not get far may have no line of its own
		next = max(next, m.epoch+1)
	}
	return next
}

func (c *Claim) takeLock() error {
	if err := os.MkdirAll(c.dir, 0o750); err != nil {
		return fmt.Errorf("make state directory: %w", err)
	}
	f, err := files.OpenOwn(filepath.Join(c.dir, "lock"), os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return fmt.Errorf("open lock: %w", err)
	}
	if err := files.Lock(f); err != nil {
		pid := make([]byte, 16)
		n, _ := f.Read(pid)
		_ = f.Close()
		return fmt.Errorf("%w: process %s has locked %s; stop it first", ErrClaimed,
			strings.TrimSpace(string(pid[:n])), f.Name())
	}
	_ = f.Truncate(0)
	_, _ = fmt.Fprintf(f, "%d\n", os.Getpid()) // for the message above only
	c.lock = f
	return nil
}

// load reads what the last start left. A file that is corrupt is set aside; one that
// cannot be read now is not replaced.
func (c *Claim) load() (s savedState, readable bool) {
	b, err := c.state.Read()
	if err != nil {
		if readable = errors.Is(err, os.ErrNotExist); !readable && c.lock != nil {
			c.log.Warn().Err(err).Msg("The saved state cannot be read; the agent starts without it")
		}
		return s, readable
	}
	if err := frame.Decode(b, &s); err != nil {
		aside, _ := c.state.SetAside() // it is replaced otherwise
		c.log.Warn().Err(err).Str("set_aside", aside).Msg("The saved state is corrupt; the agent starts without it")
		return savedState{}, true
	}
	return s, true
}

// save replaces what is saved by the present, which change (nil: nothing) completes. What
// could not be read at the start, of a disk that was not mounted perhaps, is read first.
func (c *Claim) save(change func(*savedState)) error {
	if c.stale {
		saved, readable := c.load()
		if !readable {
			return errUnreadable
		}
		c.stale, c.floor, c.Spool = false, max(c.floor, saved.Epoch), cmp.Or(c.Spool, saved.Spool)
	}
	s := c.present()
	if change != nil {
		change(&s)
	}
	b, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode state: %w", err)
	}
	if err := c.state.Replace(append(b, '\n')); err != nil {
		return fmt.Errorf("save state: %w", err)
	}
	return nil
}

// present is the state while the agent runs: it has not ended in order.
func (c *Claim) present() savedState {
	return savedState{Epoch: max(c.Epoch, c.floor), Last: c.last, StateID: c.StateID, Spool: c.Spool}
}

// Complete does what TakeClaim could not, because the state directory could not be
// written: it takes the lock and saves the epoch in use, and what the log knows by now.
// It returns nil when nothing is missing any more.
func (c *Claim) Complete(l *Log) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lock == nil {
		if err := c.takeLock(); err != nil {
			return err
		}
	}
	if err := c.save(nil); err != nil {
		return err
	}
	return c.journal.save(l.snapshot(), c.now(), true)
}

func readState(f stateFile) (s savedState, err error) {
	b, err := f.Read()
	if err == nil {
		err = frame.Decode(b, &s)
	}
	return s, err
}

// Locked reports whether this process has the lock.
func (c *Claim) Locked() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lock != nil
}

// setEpoch saves a higher epoch, before any of its IDs is used.
func (c *Claim) setEpoch(epoch uint64, l ledger) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Epoch, c.ledger = epoch, l
	if c.lock == nil {
		return nil
	}
	return cmp.Or(c.save(nil), c.journal.save(l, c.now(), true))
}

// SetSpool saves the spool's directory, before any frame is there.
func (c *Claim) SetSpool(dir string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.Spool == dir {
		return nil
	}
	c.Spool = dir
	return c.saveIfLocked()
}

func (c *Claim) saveIfLocked() error {
	if c.lock == nil {
		return nil
	}
	return c.save(nil)
}

// SavedSpool is the directory of the camera's last spool, as its agent has saved it
// in stateDir; "" if unknown. It is for others than that agent.
func SavedSpool(stateDir, camera string) string {
	saved, err := readState(diskFile{filepath.Join(stateDir, camera, stateName)})
	if err != nil {
		return ""
	}
	return saved.Spool
}

// Release ends the claim in order: all IDs that the log has given are known to the
// journal, wherever their frames are. state.json is for a program without a journal:
// clean says that everything is durable.
func (c *Claim) Release(l *Log, clean bool) {
	last, _ := l.Persisted()
	c.release(l.atEnd(), last, clean)
}

// Run saves what is new of a log's IDs now and then, until ctx ends.
func (c *Claim) Run(ctx context.Context, l *Log) error { return c.journal.Run(ctx, l) }

func (c *Claim) release(l ledger, last frame.ID, clean bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lock == nil {
		return
	}
	l.open(c.Epoch).closed = true
	ended := func(s *savedState) { s.Last, s.Clean = frame.Later(last, c.last), clean }
	if err := cmp.Or(c.journal.save(l, c.now(), false), c.save(ended)); err != nil {
		c.log.Warn().Err(err).Msg("The state cannot be saved at the agent's end")
	}
	files.Unlock(c.lock)
	c.lock = nil
}
