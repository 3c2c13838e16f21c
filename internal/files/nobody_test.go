package files

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// asNobody calls f on a thread that is another user's, and ends with it.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		// Go's own Setresuid would change all threads.
		_, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, 65534, 65534, 65534)
		if errno != 0 {
			done <- errno
			return
		}
		f()
		done <- nil
	}()
	if err := <-done; err != nil {
		t.Skipf("cannot become nobody: %v", err)
	}
}
