package camera

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"framekeeper/internal/proctest"
)

const (
	vmDevice   = "/dev/video0"
	vmLoopback = "/dev/video9"
	vmLimit    = 5 * time.Minute
)

// What camera-vm.sh says with its status.
const (
	exitTimeout   = 124
	exitNoMachine = 125
)

// outside builds the programs, runs them in one machine, and repeats here what
// the tests there said.
func outside(t *testing.T) {
	dir := t.TempDir()
	agent, units := filepath.Join(dir, "cam-agent"), filepath.Join(dir, "v4l2.test")
	if err := proctest.Build(t.Context(), agent, "framekeeper/cmd/cam-agent"); err != nil {
		t.Fatal(err)
	}
	if err := proctest.BuildTest(t.Context(), units, "framekeeper/pkg/camera/v4l2", "device"); err != nil {
		t.Fatal(err)
	}
	rows, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	run := fmt.Sprintf("echo '%srows' && %q -test.v=test2json -test.run '^TestCamera$'", section, rows)
	args := []string{"--timeout", fmt.Sprint(int(vmLimit.Seconds()))}
	if testing.Short() {
		run += " -test.short"
	} else {
		args = append(args, "--loopback")
		run += fmt.Sprintf("; status=$?; cd ../../pkg/camera/v4l2 && echo '%sdevice' && %q -test.v=test2json && exit $status", section, units)
	}
	env := []string{envDevice + "=" + vmDevice, envLoopback + "=" + vmLoopback, envAgent + "=" + agent}
	out, err := boot(t, env, append(args, "--", "sh", "-c", run))
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		switch code := exit.ExitCode(); {
		case code == exitNoMachine && os.Getenv("CI") == "":
			t.Skipf("no machine with a camera can be run here:\n%s", out.stderr)
		case code == exitTimeout:
			t.Errorf("not all was done within %s", vmLimit)
		}
	}
	n := 0
	for _, r := range reports(out.stdout) {
		n++
		t.Run(r.name, func(t *testing.T) { r.replay(t) })
	}
	if err != nil && !t.Failed() {
		t.Errorf("the machine ended with %v:\n%s%s", err, tail(out.stdout), tail(out.stderr))
	}
	if n == 0 {
		t.Errorf("no test ran in the machine:\n%s%s", tail(out.stdout), tail(out.stderr))
	}
}

type output struct{ stdout, stderr string }

// boot runs camera-vm.sh with variables for the command.
func boot(t *testing.T, env, args []string) (output, error) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "../../scripts/camera-vm.sh", args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	began := time.Now()
	err := cmd.Run()
	t.Logf("%s in the machine", time.Since(began).Round(100*time.Millisecond))
	return output{stdout.String(), stderr.String()}, err
}

// section marks where the next program's output begins.
const section = "=== section "

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
		if rest, ok := strings.CutPrefix(line, section); ok {
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

func tail(s string) string {
	const most = 4000
	return s[max(0, len(s)-most):]
}

func TestReports(t *testing.T) {
	got := reports("noise\n" + section + "a\n\x16=== RUN   TestX\n\x16=== RUN   TestX/one\n    x.go:1: said\n" +
		"\x16--- SKIP: TestX/one (0.1s)\n\x16=== NAME  TestX\n\x16--- FAIL: TestX (0.1s)\nFAIL\n" + section + "b\n=== RUN   TestX\n    said too\npanic: it\n")
	want := []report{
		{"a/TestX", "FAIL", []string{"--- FAIL: TestX (0.1s)", "FAIL"}},
		{"a/TestX/one", "SKIP", []string{"    x.go:1: said", "--- SKIP: TestX/one (0.1s)"}},
		{"b/TestX", "", []string{"    said too", "panic: it"}},
	}
	if len(got) != len(want) {
		t.Fatalf("got %d reports, want %d", len(got), len(want))
	}
	for i := range want {
		if fmt.Sprint(*got[i]) != fmt.Sprint(want[i]) {
			t.Errorf("got %q, want %q", *got[i], want[i])
		}
	}
}
