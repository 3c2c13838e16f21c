package config

import (
	"cmp"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// environmentName stands for the file's name when a variable is wrong.
const environmentName = "environment"

// Problem is one thing that is wrong.
type Problem struct {
	File  string
	Line  int    // 0 if the thing is nowhere in the file
	Key   string // "redis.url", "camera.greencam1.fps", or the name of a variable; "" if the text is not TOML
	Value string // as it may be shown; "" if there is none
	What  string // is wrong, or was expected
}

// String is one line: config.toml:12: redis.io_timeout = "6x": expected a duration such as 600ms.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		b.WriteString(":" + strconv.Itoa(p.Line))
	}
	b.WriteString(": " + p.Key)
	if p.Value != "" {
		b.WriteString(" = " + p.Value)
	}
	if p.Key != "" {
		b.WriteString(": ")
	}
	b.WriteString(p.What)
	return b.String()
}

// Error is everything that is wrong with a file and the environment, the file
// first, in the order of its lines.
type Error struct {
	Problems []Problem
}

// Error has one line for each problem.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Report collects what is wrong with a file while it is read. A path names one
// key: "state_dir", "redis.url", "camera[0].controls.gain".
type Report struct {
	file     string
	root     reflect.Value     // what is filled
	lines    map[string]int    // of each path the file has
	origin   map[string]string // path to the variable that set it
	shown    map[string]string // path of a table in a list to its name in reports
	reported map[string]bool   // paths that have a problem already
	problems []Problem
}

// Add reports a problem with a path that has none yet: one is enough for a value
// of the wrong type, and for a name on Redis. The value may be "".
func (r *Report) Add(path, value, what string) {
	if !r.reported[path] {
		r.append(path, value, what)
	}
}

// AddText is Add for a value that is a string.
func (r *Report) AddText(path, value, what string) { r.Add(path, show(value), what) }

func (r *Report) append(path, value, what string) {
	r.reported[path] = true
	p := Problem{File: r.file, Line: r.line(path), Key: r.Display(path), Value: value, What: what}
	if name := r.origin[path]; name != "" {
		p.File, p.Line, p.Key = environmentName, 0, name
	}
	r.problems = append(r.problems, p)
}

// line is where a path stands, or the nearest table around it.
func (r *Report) line(path string) int {
	for path != "" {
		if n, ok := r.lines[path]; ok {
			return n
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
	return 0
}

// Display names a path as people do: "camera.greencam1.fps".
func (r *Report) Display(path string) string {
	end := strings.IndexByte(path, ']') + 1
	return cmp.Or(r.shown[path[:end]], path[:end]) + path[end:]
}

// err is the *Error of the problems found so far, or nil.
func (r *Report) err() error {
	if len(r.problems) == 0 {
		return nil
	}
	slices.SortStableFunc(r.problems, func(a, b Problem) int {
		if a.File != b.File { // there is one file, and the environment
			if a.File == environmentName {
				return 1
			}
			return -1
		}
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Key, b.Key))
	})
	return &Error{Problems: r.problems}
}
