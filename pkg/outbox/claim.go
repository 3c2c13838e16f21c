package outbox

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/google/renameio/v2"
	"github.com/rs/zerolog"

	"framekeeper/internal/files"
	"framekeeper/pkg/frame"
)

// ErrClaimed says that another agent serves this camera.
var ErrClaimed = errors.New("another cam-agent serves this camera")

const stateName = "state.json"

// ownerState is state_dir/<camera>/state.json.
type ownerState struct {
	Epoch   uint64   `json:"epoch"` // the last one used
	Last    frame.ID `json:"last"`  // the last ID known to be durable at the last orderly end
	Clean   bool     `json:"clean"` // the agent had ended in order
	StateID string   `json:"owner"` // names this state directory to other boxes
	Spool   string   `json:"spool"` // the directory that frames were kept in; "" if unknown
}

// Claim is this process's claim to a camera: a lock, an epoch that no start
// before it used, and what the start before left. One goroutine uses it; only
// Hold and Held may be called beside that.
type Claim struct {
	Instance   string   // this process
	StateID    string   // this state directory
	Epoch      uint64   // of this start
	Previous   frame.ID // the last ID known to be durable before
	Clean      bool     // the start before ended in order, or this is the first
	EpochSaved bool     // the epoch is saved: the state directory could be written at the start
	Spool      string   // the directory that the start before kept frames in; "" if unknown

	path string
	log  zerolog.Logger

	mu    sync.Mutex // guards what is saved, Epoch and Spool too, and all below
	lock  *os.File
	floor uint64 // what is saved must not fall below: somebody has used it
}

// TakeClaim takes the camera's lock in stateDir and begins a new epoch there. A
// directory that cannot be written is warned of, not fatal: an SD card that
// went read-only must not end the pictures.
func TakeClaim(stateDir, camera string, now time.Time, log zerolog.Logger) (*Claim, error) {
	o := &Claim{Instance: frame.NewRequestID(), StateID: frame.NewRequestID(), Clean: true, path: filepath.Join(stateDir, camera, stateName), log: log}
	if err := o.acquire(); err != nil {
		if errors.Is(err, ErrClaimed) {
			return nil, err
		}
		log.Error().Err(err).Str("state_dir", stateDir).
			Msg("state_dir cannot be written: going on without a lock and without a saved epoch; make it writable")
	}
	saved, found := o.load()
	o.Epoch = max(saved.Epoch+1, uint64(max(now.Unix(), 1))) //nolint:gosec // not negative
	if found {
		o.Previous, o.Clean, o.Spool = saved.Last, saved.Clean, saved.Spool
		if saved.StateID != "" {
			o.StateID = saved.StateID
		}
	}
	if o.lock != nil {
		err := o.save(o.present())
		if o.EpochSaved = err == nil; err != nil {
			log.Error().Err(err).Msg("the epoch cannot be saved: going on, but IDs rest on the clock alone")
		}
	}
	return o, nil
}

func (o *Claim) acquire() error {
	dir := filepath.Dir(o.path)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("make state directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o640) //nolint:gosec // the operator names state_dir
	if err != nil {
		return fmt.Errorf("open lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		pid := make([]byte, 16)
		n, _ := f.Read(pid)
		_ = f.Close()
		return fmt.Errorf("%w: process %s holds %s; stop it first", ErrClaimed,
			strings.TrimSpace(string(pid[:n])), filepath.Join(dir, "lock"))
	}
	_ = f.Truncate(0)
	_, _ = fmt.Fprintf(f, "%d\n", os.Getpid()) // for the message above only
	o.lock = f
	return nil
}

// load reads what the last start left. A file that cannot be read is set aside;
// that the start before it ended in order is then nobody's to say.
func (o *Claim) load() (s ownerState, found bool) {
	b, err := os.ReadFile(o.path)
	if err != nil {
		if !errors.Is(err, os.ErrNotExist) && o.lock != nil {
			o.Clean = false
			o.log.Warn().Err(err).Msg("the saved state is unreadable, beginning without it")
		}
		return s, false
	}
	if err := json.Unmarshal(b, &s); err != nil {
		o.Clean = false
		aside := o.path + ".corrupt"
		_ = os.Rename(o.path, aside)
		o.log.Warn().Err(err).Str("set_aside", aside).Msg("the saved state is corrupt, beginning without it")
		return ownerState{}, false
	}
	return s, true
}

func (o *Claim) save(s ownerState) error {
	b, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode state: %w", err)
	}
	// renameio syncs the file; the directory is synced for the rename itself.
	if err := renameio.WriteFile(o.path, append(b, '\n'), 0o640); err != nil {
		return fmt.Errorf("save state: %w", err)
	}
	return files.SyncDir(filepath.Dir(o.path))
}

// Complete makes up for what Claim could not do, because the state directory could
// not be written: it takes the lock and saves the epoch in use. It returns nil
// when nothing is missing any more.
func (o *Claim) Complete() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.lock == nil {
		if err := o.acquire(); err != nil {
			return err
		}
	}
	var there ownerState // on a disk that was not there yet at the start
	if b, err := os.ReadFile(o.path); err == nil && json.Unmarshal(b, &there) == nil {
		o.floor = max(o.floor, there.Epoch)
		o.Spool = cmp.Or(o.Spool, there.Spool)
	}
	return o.save(o.present())
}

// Locked reports whether the lock is ours.
func (o *Claim) Locked() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.lock != nil
}

// SetEpoch saves a higher epoch, before any of its IDs is used.
func (o *Claim) SetEpoch(epoch uint64) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.Epoch = epoch
	if o.lock == nil {
		return nil
	}
	return o.save(o.present())
}

// SetSpool saves which directory frames are kept in, before any is.
func (o *Claim) SetSpool(spool string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.Spool == spool {
		return nil
	}
	o.Spool = spool
	if o.lock == nil {
		return nil
	}
	return o.save(o.present())
}

// present is the state while the agent runs: it has not ended in order.
func (o *Claim) present() ownerState {
	return ownerState{Epoch: max(o.Epoch, o.floor), Last: o.Previous, StateID: o.StateID, Spool: o.Spool}
}

// SavedSpool is the directory that the camera's agent last kept frames in, as it
// has saved it in stateDir; "" if unknown. For others than its owner.
func SavedSpool(stateDir, camera string) string {
	b, err := os.ReadFile(filepath.Join(stateDir, camera, stateName)) //nolint:gosec // below state_dir
	var s ownerState
	if err != nil || json.Unmarshal(b, &s) != nil {
		return ""
	}
	return s.Spool
}

// Release ends the claim. clean says that nothing was left behind.
func (o *Claim) Release(last frame.ID, clean bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.lock == nil {
		return
	}
	s := o.present()
	s.Last, s.Clean = last, clean
	if err := o.save(s); err != nil {
		o.log.Warn().Err(err).Msg("the state could not be saved at the end")
	}
	// Closing alone leaves it held by a child that is being forked just now.
	_ = syscall.Flock(int(o.lock.Fd()), syscall.LOCK_UN)
	_ = o.lock.Close()
	o.lock = nil
}
