// Package config reads a TOML file into the structs of its sections, strictly.
// It promises that what it accepts is complete and valid, that everything wrong
// with a file is reported at once, each with its line, its key, its value and
// what was expected, and that no password appears in a report. It refuses keys
// that no section has. It has no section of its own: the sections' types and
// their checks stand in the packages they configure, internal/configfile puts
// them together, and nobody else calls this package.
package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"time"

	"golang.org/x/sys/unix"
)

// Target is the struct of a whole file, filled with the defaults. A field with a
// toml tag is a key; a struct is a [table], and a slice of structs a list of
// [[tables]], whose one element holds the defaults of each. The keys of a struct
// without a tag belong to the table around it. Each table's Validate, if it has
// one, reports what is wrong with its keys.
type Target interface {
	// Complete works out the defaults that follow from other values.
	Complete()
	// Check reports what no section can find out alone.
	Check(r *Report)
}

// Section is what a table may have beside its keys.
type Section interface {
	Validate(report func(key, value, expected string))
}

// maxFile bounds a configuration file. Real ones have some kilobytes.
const maxFile = 256 << 10

// ReadFile reads the text of a file, or what comes through a pipe.
func ReadFile(path string) ([]byte, error) {
	data, err := read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no configuration file %s: copy the config.toml that comes with Framekeeper there, or name yours with --config FILE", path)
	}
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("read configuration: %w: it may hold passwords, so call this with sudo, or as a user of the file's group", err)
	}
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return data, nil
}

// pipePatience limits how long a configuration may take to come through a pipe:
// a reload that waited for ever could neither be followed by another nor ended.
const pipePatience = 5 * time.Second

func read(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // else a pipe waits for somebody to write
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()                    // nothing was written
	_ = f.SetReadDeadline(time.Now().Add(pipePatience)) // a regular file has none, and needs none
	data, err := ReadText(f)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, fmt.Errorf("%s is no file, and its writer did not end within %v", path, pipePatience)
	case err == nil && len(data) == 0:
		if info, serr := f.Stat(); serr == nil && !info.Mode().IsRegular() {
			return nil, fmt.Errorf("%s is no file, and nothing came out of it", path)
		}
	}
	return data, err
}

// ReadText reads no more than Parse needs to refuse a text that is too long.
func ReadText(r io.Reader) ([]byte, error) { return io.ReadAll(io.LimitReader(r, maxFile+1)) }

// Parse reads the text of a file, and then the FRAMEKEEPER_ variables in
// environ, into the target. Path is what reports call the file. An error is an
// *Error, and the target is then not to be used.
func Parse(path string, data []byte, environ []string, target Target) error {
	r := &Report{file: path, root: reflect.ValueOf(target).Elem(),
		origin: make(map[string]string), shown: make(map[string]string), reported: make(map[string]bool)}
	if len(data) > maxFile {
		r.problems = append(r.problems, Problem{File: path, What: fmt.Sprintf("the file is larger than %d KiB", maxFile>>10)})
		return r.err()
	}
	raw, lines, problem := decodeTOML(path, data)
	if problem != nil {
		return &Error{Problems: []Problem{*problem}}
	}
	r.lines = lines
	r.table("", raw, r.root)
	r.environment(environ)
	target.Complete()
	r.validate("", r.root)
	target.Check(r)
	return r.err()
}
