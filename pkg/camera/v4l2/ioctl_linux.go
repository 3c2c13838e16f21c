package v4l2

import (
	"bytes"
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ioctl calls the driver, again if a signal interrupted it: Go's own preemption
// sends some. arg points to the structure whose size is in req.
func ioctl(fd int, req uintptr, arg unsafe.Pointer) error {
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), req, uintptr(arg))
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return errno
		}
		return nil
	}
}

// gone reports whether the error means that the device is not there any more.
func gone(err error) bool {
	return errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENXIO) || errors.Is(err, unix.ESHUTDOWN)
}

// text is the string in a C array.
func text(b []byte) string {
	if end := bytes.IndexByte(b, 0); end >= 0 {
		b = b[:end]
	}
	return printable(string(b))
}
