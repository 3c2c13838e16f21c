package mjpeg

import (
	"io"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// arrivals reads from a pipe or a socket and knows when the bytes it gave last
// had arrived. That is now if it had to wait for them. Bytes that had been
// waiting for it, because this process was held up, arrived after the last
// moment nothing was waiting; that moment is taken, so that an old frame is
// never taken for one exposed after a request. One goroutine reads at a time.
type arrivals struct {
	raw  syscall.RawConn
	try  func(fd uintptr) bool // made once, so that reading allocates nothing
	base time.Time

	p     []byte // of the Read under way
	n     int
	err   error
	tries int

	emptied bool          // the last Read left nothing behind that still waits
	queued  int           // bytes read since something was left behind
	last    time.Duration // when the last Read returned, since base
	at      atomic.Int64  // when its bytes had arrived, since base
}

// maxQueued is more than pipes and sockets hold; what comes after so much has
// not been waiting since.
const maxQueued = 8 << 20

func newArrivals(c syscall.Conn) (*arrivals, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	a := &arrivals{raw: raw, base: time.Now(), emptied: true}
	a.try = a.attempt
	return a, nil
}

// arrived may be called from any goroutine.
func (a *arrivals) arrived() time.Time { return a.base.Add(time.Duration(a.at.Load())) }

func (a *arrivals) attempt(fd uintptr) bool {
	a.tries++
	for {
		a.n, a.err = syscall.Read(int(fd), a.p)
		if a.err != syscall.EINTR { //nolint:errorlint // an Errno as it is
			break
		}
	}
	return a.err != syscall.EAGAIN //nolint:errorlint // an Errno as it is
}

// Read reads what is there, or waits for something.
func (a *arrivals) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	a.p, a.n, a.err, a.tries = p, 0, nil, 0
	err := a.raw.Read(a.try)
	a.p = nil
	switch {
	case err != nil: // closed, or a deadline
		return 0, err
	case a.err != nil:
		return 0, os.NewSyscallError("read", a.err)
	case a.n == 0:
		return 0, io.EOF
	}
	now := time.Since(a.base)
	switch {
	case a.tries > 1:
		a.at.Store(int64(now))
	case a.emptied:
		a.at.Store(int64(a.last))
	}
	a.queued += a.n
	if a.emptied = a.n < len(p) || a.queued > maxQueued; a.emptied {
		a.queued = 0
	}
	a.last = now
	return a.n, nil
}
