package mjpeg

import (
	"io"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// timedReader reads from a pipe or a socket and measures when the bytes it gave
// last had arrived. That is now if it had to wait for them. Bytes that had been
// waiting for it, because this process was held up, arrived after the last
// moment nothing was waiting; that moment is taken, so that an old frame is
// never taken for one exposed after a request. One goroutine reads at a time.
type timedReader struct {
	raw  syscall.RawConn
	try  func(fd uintptr) bool // made once, so that reading allocates nothing
	base time.Time

	p     []byte // of the Read under way
	n     int
	err   error
	tries int

	drained bool          // the last Read left nothing behind that still waits
	queued  int           // bytes read since something was left behind
	last    time.Duration // when the last Read returned, since base
	at      atomic.Int64  // when its bytes had arrived, since base
}

// maxQueued is more than pipes and sockets hold; what comes after so much has
// not been waiting since.
const maxQueued = 8 << 20

func newTimedReader(c syscall.Conn) (*timedReader, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	r := &timedReader{raw: raw, base: time.Now(), drained: true}
	r.try = r.attempt
	return r, nil
}

// arrived may be called from any goroutine.
func (r *timedReader) arrived() time.Time { return r.base.Add(time.Duration(r.at.Load())) }

func (r *timedReader) attempt(fd uintptr) bool {
	r.tries++
	for {
		r.n, r.err = syscall.Read(int(fd), r.p)
		if r.err != syscall.EINTR { //nolint:errorlint // an Errno as it is
			break
		}
	}
	return r.err != syscall.EAGAIN //nolint:errorlint // an Errno as it is
}

// Read reads what is there, or waits for something.
func (r *timedReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	r.p, r.n, r.err, r.tries = p, 0, nil, 0
	err := r.raw.Read(r.try)
	r.p = nil
	switch {
	case err != nil: // closed, or a deadline
		return 0, err
	case r.err != nil:
		return 0, os.NewSyscallError("read", r.err)
	case r.n == 0:
		return 0, io.EOF
	}
	now := time.Since(r.base)
	switch {
	case r.tries > 1:
		r.at.Store(int64(now))
	case r.drained:
		r.at.Store(int64(r.last))
	}
	r.queued += r.n
	if r.drained = r.n < len(p) || r.queued > maxQueued; r.drained {
		r.queued = 0
	}
	r.last = now
	return r.n, nil
}
