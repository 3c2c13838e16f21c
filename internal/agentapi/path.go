package agentapi

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// maxPath is what a socket's name may have in Linux, the final zero excluded.
const maxPath = 107

// Path is the socket of a camera's agent.
func Path(stateDir, camera string) string { return filepath.Join(stateDir, camera, "agent.sock") }

// short gives a socket's name in a form the kernel takes: a long one leads
// through an open descriptor of its directory. release is to be called when the
// name is not used any more.
func short(path string) (name string, release func(), err error) {
	if len(path) <= maxPath {
		return path, func() {}, nil
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return "", nil, fmt.Errorf("open the socket's directory: %w", err)
	}
	name = filepath.Join("/proc/self/fd", strconv.Itoa(int(dir.Fd())), filepath.Base(path)) //nolint:gosec // a descriptor is a small number
	return name, func() { _ = dir.Close() }, nil
}
