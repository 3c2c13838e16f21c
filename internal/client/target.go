package client

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"
)

// maxLinks is how many symbolic links are followed, as many as Linux does.
const maxLinks = 40

// writeFile puts body where output leads. A regular file, or one that does not
// exist yet, appears under its name only when it is complete; symbolic links to
// it stay. What is no regular file (a device, a pipe, a terminal) is written to
// and never replaced.
func writeFile(output string, body []byte) error {
	path, special, err := target(output)
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && special:
		return fmt.Errorf("%s does not exist, and no files are made there", path)
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case info.IsDir():
		return fmt.Errorf("%s is a directory", output)
	case special || !info.Mode().IsRegular():
		return writeInto(path, body)
	}
	return renameio.WriteFile(path, body, 0o644, renameio.WithTempDir(filepath.Dir(path)), renameio.WithExistingPermissions())
}

// writeInto writes to what is there. It appends, because /dev/stdout may be a
// file that others have written to.
func writeInto(path string, body []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(body)
	return errors.Join(err, f.Close())
}

// target follows output's symbolic links to the name that is to be written.
// special says that the way leads through the system's own directories, where
// nothing may be made or replaced. The last link may lead to nothing yet, which
// is why filepath.EvalSymlinks does not do for the whole name.
func target(output string) (path string, special bool, err error) {
	path = output
	for range maxLinks {
		dir, err := filepath.EvalSymlinks(filepath.Dir(path))
		if err != nil {
			return "", false, err
		}
		if dir, err = filepath.Abs(dir); err != nil {
			return "", false, err
		}
		path = filepath.Join(dir, filepath.Base(path))
		if systemDir(dir) {
			return path, true, nil // /dev/stdout leads to a name only sometimes
		}
		link, err := os.Readlink(path)
		if err != nil { // no link, or nothing at all
			return path, false, nil
		}
		if !filepath.IsAbs(link) {
			link = filepath.Join(dir, link)
		}
		path = link
	}
	return "", false, fmt.Errorf("%s: too many symbolic links", output)
}

func systemDir(dir string) bool {
	in := func(parent string) bool { return dir == parent || strings.HasPrefix(dir, parent+"/") }
	return in("/proc") || in("/sys") || in("/dev") && !in("/dev/shm")
}
