package config

import (
	"cmp"
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

// err is the *Error of the problems found so far, or nil.
func (l *loader) err() error {
	if len(l.problems) == 0 {
		return nil
	}
	slices.SortStableFunc(l.problems, func(a, b Problem) int {
		if a.File != b.File { // there is one file, and the environment
			if a.File == environmentName {
				return 1
			}
			return -1
		}
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Key, b.Key))
	})
	return &Error{Problems: l.problems}
}
