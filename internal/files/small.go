package files

import (
	"fmt"
	"io"
	"io/fs"
	"os"
)

// maxSize bounds a file. All certificates that a system trusts are 0.2 MiB.
const maxSize = 1 << 20

// ReadSmall is the content of a file that a configuration names: a password or a
// certificate. It waits for nothing but the file's disk, and refuses what is no
// regular file: a pipe or a terminal would block its reader until somebody
// writes, and has nothing left for those who read again.
func ReadSmall(path string) ([]byte, error) {
	info, err := os.Stat(path) // before it is opened: that alone waits for a pipe's writer, and some devices act on it
	if err != nil {
		return nil, err
	}
	if kind := kindOf(info.Mode()); kind != "" {
		return nil, fmt.Errorf("%s is %s, expected a regular file", path, kind)
	}
	f, err := os.Open(path) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read from
	data, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err == nil && len(data) > maxSize {
		return nil, fmt.Errorf("%s is larger than %d KiB", path, maxSize>>10)
	}
	return data, err
}

// kindOf says what is no regular file.
func kindOf(m fs.FileMode) string {
	switch {
	case m.IsRegular():
		return ""
	case m.IsDir():
		return "a directory"
	case m&fs.ModeNamedPipe != 0:
		return "a pipe"
	case m&fs.ModeDevice != 0:
		return "a device"
	case m&fs.ModeSocket != 0:
		return "a socket"
	default:
		return "something else"
	}
}
