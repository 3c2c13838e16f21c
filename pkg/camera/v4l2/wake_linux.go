package v4l2

import (
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// wake ends a poll from another goroutine.
type wake struct {
	mu     sync.Mutex // guards all below: nobody may write to a number that was closed
	fd     int
	ending bool
	closed bool
}

func newWake() (*wake, error) {
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make an eventfd: %w", err)
	}
	return &wake{fd: fd}, nil
}

// raise makes the present or the next poll return.
func (w *wake) raise() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.raiseLocked()
}

func (w *wake) raiseLocked() {
	if w.closed {
		return
	}
	one := [8]byte{0: 1, 7: 1}      // not 0 in either byte order
	_, _ = unix.Write(w.fd, one[:]) // EAGAIN: it is raised already
}

// lower takes back what was raised, unless it is for good.
func (w *wake) lower() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || w.ending {
		return
	}
	var count [8]byte
	_, _ = unix.Read(w.fd, count[:])
}

// end raises it for good.
func (w *wake) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ending = true
	w.raiseLocked()
}

func (w *wake) ended() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ending
}

func (w *wake) close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil
	}
	w.closed = true
	return unix.Close(w.fd)
}
