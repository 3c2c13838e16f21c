package events

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"framekeeper/internal/files"
	"framekeeper/pkg/frame"
)

const (
	// maxFile bounds the file, in bytes: it is then written anew, with at most keptFile
	// bytes of the newest events.
	maxFile, keptFile = 384 << 10, 256 << 10
	// saveInterval is how long repetitions wait to be written, and how soon a file that
	// could not be written is tried again.
	saveInterval = time.Minute
)

// readFile reads the events of a file, oldest first, and its size in bytes. Of an event
// that comes again the later line counts. Damaged lines are left out, and reported.
func readFile(path string) (all []Event, size int64, damaged bool, err error) {
	f, err := files.OpenOwn(path, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, false, nil
	}
	if err != nil {
		return nil, 0, true, fmt.Errorf("open events: %w", err)
	}
	defer func() { _ = f.Close() }() // only read from
	data, err := io.ReadAll(io.LimitReader(f, 2*maxFile))
	if err != nil {
		return nil, 0, true, fmt.Errorf("read events: %w", err)
	}
	seen := map[uint64]bool{}
	lines := bytes.Split(data, []byte("\n"))
	torn := lines[len(lines)-1] // empty behind a whole last line
	for _, line := range slices.Backward(lines[:len(lines)-1]) {
		var e Event
		switch {
		case frame.Decode(line, &e) != nil || e.ID == 0:
			damaged = true
		case !seen[e.ID] && len(all) < maxEvents:
			seen[e.ID] = true
			all = append(all, e)
		}
	}
	slices.Reverse(all)
	return all, int64(len(data)), damaged || len(torn) > 0, nil
}

// Run saves new events until ctx ends, and then what is left. It returns late if the
// disk does not answer.
func (l *Log) Run(ctx context.Context) {
	tick := time.NewTicker(saveInterval)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-l.wake:
		case <-tick.C:
		case <-ctx.Done():
		}
		l.Save()
	}
}

// Save writes what is not in the file yet. A file that cannot be written is logged once,
// and then written anew when it can be. It blocks as long as the disk does not answer.
func (l *Log) Save() {
	l.saving.Lock()
	defer l.saving.Unlock()
	l.mu.Lock()
	all, unsaved, anew := slices.Clone(l.all), l.unsaved, l.anew || l.broken
	l.unsaved, l.anew = nil, false
	l.mu.Unlock()
	if len(unsaved) == 0 && !anew || l.file == "" {
		return
	}
	lines := encode(unsaved)
	anew = anew || l.size+int64(len(lines)) > maxFile
	var err error
	if anew {
		lines = newest(encode(all), keptFile)
		err = replaceFile(l.file, lines)
	} else {
		err = appendFile(l.file, lines)
	}
	if l.size += int64(len(lines)); anew {
		l.size = int64(len(lines))
	}
	if err != nil && !l.broken {
		l.logger().Warn().Err(err).Msg("Events cannot be saved; they are in memory only, and are saved when that is possible again")
	}
	l.broken = err != nil
}

// encode makes a line of each event.
func encode(all []Event) []byte {
	var b bytes.Buffer
	for i := range all {
		line, err := json.Marshal(&all[i])
		if err == nil { // else a figure is none, which JSON does not have
			b.Write(append(line, '\n'))
		}
	}
	return b.Bytes()
}

// newest are the last whole lines of at most so many bytes.
func newest(lines []byte, limit int) []byte {
	if len(lines) <= limit {
		return lines
	}
	lines = lines[len(lines)-limit-1:]
	return lines[bytes.IndexByte(lines, '\n')+1:]
}

func appendFile(path string, lines []byte) error {
	f, err := files.OpenOwn(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
	if err != nil {
		return fmt.Errorf("open events: %w", err)
	}
	_, err = f.Write(lines)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write events: %w", err)
	}
	return nil
}

// replaceFile puts a file with these lines in the place of the one before, whatever that
// is.
func replaceFile(path string, lines []byte) error {
	next := path + ".new"
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) { // of a start that was killed
		return fmt.Errorf("write events anew: %w", err)
	}
	f, err := files.OpenOwn(next, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640)
	if err != nil {
		return fmt.Errorf("write events anew: %w", err)
	}
	_, err = f.Write(lines)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(next, path)
	}
	if err == nil {
		err = files.SyncDir(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("write events anew: %w", err)
	}
	return nil
}
