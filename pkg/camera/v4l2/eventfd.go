package v4l2

import (
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// eventFD ends a poll from another goroutine.
type eventFD struct {
	mu     sync.Mutex // guards all below: nobody may write to a number that was closed
	fd     int
	ending bool
	closed bool
}

func newEventFD() (*eventFD, error) {
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make an eventfd: %w", err)
	}
	return &eventFD{fd: fd}, nil
}

// signal makes the present or the next poll return.
func (e *eventFD) signal() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.signalLocked()
}

func (e *eventFD) signalLocked() {
	if e.closed {
		return
	}
	one := [8]byte{0: 1, 7: 1}      // not 0 in either byte order
	_, _ = unix.Write(e.fd, one[:]) // EAGAIN: it is signalled already
}

// reset takes a signal back, unless it is for good.
func (e *eventFD) reset() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed || e.ending {
		return
	}
	var count [8]byte
	_, _ = unix.Read(e.fd, count[:])
}

// end signals for good.
func (e *eventFD) end() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ending = true
	e.signalLocked()
}

func (e *eventFD) ended() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.ending
}

func (e *eventFD) close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil
	}
	e.closed = true
	return unix.Close(e.fd)
}
