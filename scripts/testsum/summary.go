package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// event is one line of "go test -json"; see "go doc test2json".
type event struct {
	Action      string
	Package     string
	Test        string
	Elapsed     float64
	Output      string
	ImportPath  string // of build-output
	FailedBuild string
}

// test names one test of one package; without a name, the package itself.
type test struct{ pkg, name string }

// summary counts tests (subtests too, as go test does) and packages that failed
// without a failed test, such as those that do not compile.
type summary struct {
	out                     io.Writer
	passed, failed, skipped int

	running    map[test][]string // what it has said so far
	failedIn   map[string]int    // failed tests by package
	buildNotes map[string][]string
}

func newSummary(out io.Writer) *summary {
	return &summary{
		out:     out,
		running: map[test][]string{}, failedIn: map[string]int{}, buildNotes: map[string][]string{},
	}
}

// read takes all of the input. Lines that are no JSON are shown as they are.
func (s *summary) read(in io.Reader) error {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil || e.Action == "" {
				s.print(string(line))
			} else {
				s.take(e)
			}
		}
		if err == io.EOF {
			return s.close()
		}
		if err != nil {
			return fmt.Errorf("read test events: %w", err)
		}
	}
}

func (s *summary) take(e event) {
	t := test{e.Package, e.Test}
	switch e.Action {
	case "start", "run":
		s.running[t] = nil
	case "output":
		s.running[t] = append(s.running[t], e.Output)
	case "build-output":
		s.buildNotes[e.ImportPath] = append(s.buildNotes[e.ImportPath], e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			s.endPackage(e)
		} else {
			s.endTest(t, e.Action)
		}
		delete(s.running, t)
	}
}

func (s *summary) endTest(t test, action string) {
	switch action {
	case "pass":
		s.passed++
	case "skip":
		s.skipped++
		s.printf("SKIP  %s %s: %s\n", t.pkg, t.name, reason(s.running[t]))
	case "fail":
		s.fail(t, "")
	}
}

func (s *summary) fail(t test, note string) {
	s.failed++
	s.failedIn[t.pkg]++
	s.printf("FAIL  %s %s%s\n%s", t.pkg, t.name, note, strings.Join(s.running[t], ""))
}

func (s *summary) endPackage(e event) {
	if e.Action == "pass" {
		s.printf("ok    %s %.1fs\n", e.Package, e.Elapsed)
	}
	if e.Action != "fail" {
		return
	}
	for _, t := range s.unfinished(e.Package) {
		s.fail(t, " did not finish")
		delete(s.running, t)
	}
	s.printf("FAIL  %s %.1fs\n%s%s", e.Package, e.Elapsed,
		strings.Join(s.buildNotes[e.FailedBuild], ""), strings.Join(s.running[test{pkg: e.Package}], ""))
	if s.failedIn[e.Package] == 0 {
		s.failed++
	}
}

// unfinished are the tests that have begun and not ended; of one package, or of
// all for "".
func (s *summary) unfinished(pkg string) []test {
	var found []test
	for t := range s.running {
		if t.name != "" && (pkg == "" || t.pkg == pkg) {
			found = append(found, t)
		}
	}
	slices.SortFunc(found, func(a, b test) int { return strings.Compare(a.pkg+" "+a.name, b.pkg+" "+b.name) })
	return found
}

// close counts what go test never finished telling about, because it was ended.
func (s *summary) close() error {
	for _, t := range s.unfinished("") {
		s.fail(t, " did not finish")
	}
	return nil
}

// reason is what a skipped test said, without go test's own lines.
func reason(output []string) string {
	var said []string
	for _, line := range output {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "===") && !strings.HasPrefix(line, "---") {
			said = append(said, line)
		}
	}
	if len(said) == 0 {
		return "no reason given"
	}
	return strings.Join(said, " ")
}

func (s *summary) print(text string) { _, _ = io.WriteString(s.out, text) }

func (s *summary) printf(format string, args ...any) { _, _ = fmt.Fprintf(s.out, format, args...) }
