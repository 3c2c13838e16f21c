package vmtest

import (
	"bufio"
	"regexp"
	"strings"
	"testing"
)

// Section begins a line that names the program whose output follows.
const Section = "=== section "

// report is one test of the machine.
type report struct {
	name    string
	verdict string // PASS, FAIL or SKIP; "" if it never ended
	text    []string
}

var (
	beganLine = regexp.MustCompile(`^=== (RUN|CONT|NAME|PAUSE) +(\S+)`)
	endedLine = regexp.MustCompile(`^ *--- (PASS|FAIL|SKIP): (\S+)`)
)

// reports takes the output of test binaries apart, in the form that test2json
// reads: a marked line names a test, and what it printed follows.
func reports(stdout string) []*report {
	var all []*report
	byName := map[string]*report{}
	prefix, current := "", (*report)(nil)
	get := func(name string) *report {
		name = prefix + name
		if byName[name] == nil {
			byName[name] = &report{name: name}
			all = append(all, byName[name])
		}
		return byName[name]
	}
	lines := bufio.NewScanner(strings.NewReader(stdout))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := strings.TrimPrefix(lines.Text(), "\x16")
		if rest, ok := strings.CutPrefix(line, Section); ok {
			prefix, current = rest+"/", nil
		} else if m := beganLine.FindStringSubmatch(line); m != nil {
			current = get(m[2])
		} else if m := endedLine.FindStringSubmatch(line); m != nil {
			r := get(m[2])
			r.verdict = m[1]
			r.text = append(r.text, strings.TrimSpace(line))
		} else if current != nil {
			current.text = append(current.text, line)
		}
	}
	return all
}

// replay gives the test's verdict. In the machine everything is there, so a
// skipped test is one that looks at nothing.
func (r *report) replay(t *testing.T) {
	t.Log(strings.Join(r.text, "\n"))
	if r.verdict != "PASS" {
		t.Errorf("in the machine: %s", map[string]string{"FAIL": "failed", "SKIP": "skipped", "": "did not end"}[r.verdict])
	}
}
