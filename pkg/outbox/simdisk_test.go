package outbox

import (
	"fmt"
	"io/fs"
	"slices"
	"syscall"
	"time"

	"framekeeper/pkg/spool"
)

// simDisk is the box's disk: the journals of a camera and the directories of its
// spools. It outlives every process; a power cut takes what was not synced.
type simDisk struct {
	world *simWorld

	state, journal simFile              // state.json and journal, below state_dir
	stores         map[string]*simStore // the spools' directories

	full       bool          // ENOSPC
	readOnly   bool          // EROFS
	unmounted  bool          // the spools' disk is not there
	unreadable bool          // what is below state_dir, at the start of the present process
	failing    int           // of a hundred calls, how many fail with EIO
	starved    bool          // EMFILE: nothing can be opened
	killing    int           // of a thousand calls, during how many the process is killed
	since      time.Duration // when the last call failed, or the disk was repaired
}

func newSimDisk(w *simWorld) *simDisk {
	return &simDisk{world: w, stores: map[string]*simStore{"a": {}, "b": {}}}
}

// write is the error of a call that writes, if it fails.
func (d *simDisk) write() error {
	switch {
	case d.readOnly:
		return d.failed(syscall.EROFS)
	case d.starved:
		return d.failed(syscall.EMFILE)
	case d.full:
		return d.failed(syscall.ENOSPC)
	}
	return d.read()
}

// read is the error of a call that reads.
func (d *simDisk) read() error {
	switch {
	case d.starved:
		return d.failed(syscall.EMFILE)
	case d.world.rng.percent(d.failing):
		return d.failed(syscall.EIO)
	}
	return nil
}

func (d *simDisk) failed(err error) error {
	d.since = d.world.now
	return fmt.Errorf("simulated: %w", err)
}

// call is one call of a process to the disk.
func (d *simDisk) call() {
	if d.killing > 0 && d.world.rng.IntN(1000) < d.killing {
		d.world.kill()
	}
	d.world.meanwhile()
}

// healthy reports whether every call succeeds.
func (d *simDisk) healthy() bool {
	return !d.full && !d.readOnly && !d.unmounted && !d.starved && d.failing == 0
}

// powerCut takes what was not synced.
func (d *simDisk) powerCut(rng simRandom) {
	d.state.powerCut(rng)
	d.journal.powerCut(rng)
	for _, name := range []string{"a", "b"} {
		d.stores[name].powerCut(rng, d.world.ledger.fileLost)
	}
}

// simFile is a file that is appended to.
type simFile struct {
	data   []byte
	synced int  // how much of data a power cut leaves for certain
	exists bool // it was written once
}

// powerCut leaves what was synced, and a part of what was not: cut off, or with the
// length but not the bytes.
func (f *simFile) powerCut(rng simRandom) {
	tail := slices.Clone(f.data[f.synced:])
	if len(tail) > 0 {
		tail = tail[:rng.IntN(len(tail)+1)]
		if rng.percent(30) && len(tail) > 0 {
			clear(tail[rng.IntN(len(tail)):])
		}
	}
	f.data = append(slices.Clone(f.data[:f.synced]), tail...)
	f.synced = len(f.data)
}

// simStateFile is a file below state_dir as one process has it.
type simStateFile struct {
	disk *simDisk
	file *simFile
	life int
}

var _ stateFile = (*simStateFile)(nil)

func (j *simStateFile) Read() ([]byte, error) {
	j.disk.world.alive(j.life)
	if j.disk.unreadable {
		return nil, j.disk.failed(syscall.EIO)
	}
	if !j.file.exists {
		return nil, fs.ErrNotExist
	}
	return slices.Clone(j.file.data), nil
}

// Append adds bytes, or with an error a part of them.
func (j *simStateFile) Append(b []byte) error {
	d, f := j.disk, j.file
	d.world.alive(j.life)
	d.call()
	if !f.exists {
		return fs.ErrNotExist
	}
	err := d.write()
	switch {
	case err != nil && (d.readOnly || d.starved):
		return err
	case err != nil:
		b = b[:d.world.rng.IntN(len(b)+1)]
	}
	f.data = append(slices.Clip(f.data), b...)
	return err
}

// Sync makes durable what was appended. After an error it is not known what is: the
// kernel forgets that it was to be written.
func (j *simStateFile) Sync() error {
	d := j.disk
	d.world.alive(j.life)
	d.call()
	j.synced()
	if d.readOnly {
		return d.failed(syscall.EROFS)
	}
	if d.world.rng.percent(d.failing) {
		return d.failed(syscall.EIO)
	}
	j.file.synced = len(j.file.data)
	d.saved(j.file)
	return nil
}

// Replace puts new content in place of the old, durably and wholly or not at all.
func (j *simStateFile) Replace(b []byte) error {
	d := j.disk
	d.world.alive(j.life)
	d.call()
	j.synced()
	if err := d.write(); err != nil {
		return err
	}
	*j.file = simFile{data: slices.Clone(b), synced: len(b), exists: true}
	d.saved(j.file)
	d.call()
	return nil
}

// SetAside takes a file out of the way.
func (j *simStateFile) SetAside() (string, error) {
	j.disk.world.alive(j.life)
	if err := j.disk.write(); err != nil {
		return "", err
	}
	*j.file = simFile{}
	return "aside", nil
}

// synced counts a sync of the journal.
func (j *simStateFile) synced() {
	if j.file == &j.disk.journal {
		j.disk.world.ledger.fsynced()
	}
}

// saved notes that the journal is as the process wants it.
func (d *simDisk) saved(f *simFile) {
	if f == &d.journal && d.world.life != nil {
		d.world.trace.note("journal saved: %d bytes", len(f.data))
		d.world.life.saved = d.world.now
		d.world.life.saves++
	}
}

// explained adds what pkg/spool adds to an error of the file system.
func explained(err error) error {
	switch {
	case isErrno(err, syscall.ENOSPC):
		return fmt.Errorf("%w: %w", spool.ErrDiskFull, err)
	case isErrno(err, syscall.EROFS):
		return fmt.Errorf("%w: %w", spool.ErrReadOnly, err)
	}
	return err
}
