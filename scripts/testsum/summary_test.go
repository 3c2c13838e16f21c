package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const events = `{"Action":"start","Package":"a"}
{"Action":"run","Package":"a","Test":"TestGood"}
{"Action":"output","Package":"a","Test":"TestGood","Output":"quiet\n"}
{"Action":"pass","Package":"a","Test":"TestGood","Elapsed":0}
{"Action":"run","Package":"a","Test":"TestBad"}
{"Action":"run","Package":"a","Test":"TestBad/sub"}
{"Action":"output","Package":"a","Test":"TestBad/sub","Output":"    got 1, want 2\n"}
{"Action":"fail","Package":"a","Test":"TestBad/sub","Elapsed":0}
{"Action":"fail","Package":"a","Test":"TestBad","Elapsed":0}
{"Action":"run","Package":"a","Test":"TestNot"}
{"Action":"output","Package":"a","Test":"TestNot","Output":"=== RUN   TestNot\n"}
{"Action":"output","Package":"a","Test":"TestNot","Output":"    x_test.go:5: needs a camera\n"}
{"Action":"output","Package":"a","Test":"TestNot","Output":"--- SKIP: TestNot (0.00s)\n"}
{"Action":"skip","Package":"a","Test":"TestNot","Elapsed":0}
{"Action":"fail","Package":"a","Elapsed":1.5}
{"ImportPath":"b [b.test]","Action":"build-output","Output":"b.go:1: syntax error\n"}
{"ImportPath":"b [b.test]","Action":"build-fail"}
{"Action":"start","Package":"b"}
{"Action":"fail","Package":"b","Elapsed":0,"FailedBuild":"b [b.test]"}
go: something that is no JSON
{"Action":"start","Package":"c"}
{"Action":"run","Package":"c","Test":"TestHang"}
{"Action":"output","Package":"c","Test":"TestHang","Output":"panic: test timed out\n"}
{"Action":"fail","Package":"c","Elapsed":9}
{"Action":"start","Package":"d"}
{"Action":"skip","Package":"d","Elapsed":0}
`

func TestSummary(t *testing.T) {
	counts := filepath.Join(t.TempDir(), "counts")
	var out strings.Builder
	err := run([]string{"-counts", counts}, strings.NewReader(events), &out)
	if err == nil {
		t.Error("got no error although tests failed")
	}
	// a: TestBad and its subtest; b does not compile; c's test hung.
	if got, _ := os.ReadFile(counts); string(got) != "1 4 1\n" {
		t.Errorf("got counts %q, want 1 passed, 4 failed, 1 skipped", got)
	}
	for _, want := range []string{
		"FAIL  a TestBad/sub\n    got 1, want 2\n", "SKIP  a TestNot: x_test.go:5: needs a camera\n",
		"FAIL  b 0.0s\nb.go:1: syntax error\n", "go: something that is no JSON\n",
		"FAIL  c TestHang did not finish\npanic: test timed out\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in:\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "quiet") {
		t.Errorf("the output of a passed test is shown:\n%s", out.String())
	}
}

func TestCutOffInput(t *testing.T) {
	var out strings.Builder
	err := run(nil, strings.NewReader(`{"Action":"run","Package":"a","Test":"TestX"}`), &out)
	if err == nil || !strings.Contains(out.String(), "TestX did not finish") {
		t.Errorf("got %v and %q, want a failure for TestX", err, out.String())
	}
}

func TestAllPassed(t *testing.T) {
	var out strings.Builder
	in := `{"Action":"pass","Package":"a","Test":"TestX"}` + "\n" + `{"Action":"pass","Package":"a","Elapsed":2}`
	if err := run(nil, strings.NewReader(in), &out); err != nil || out.String() != "ok    a 2.0s\n" {
		t.Errorf("got %v and %q, want nil and one line", err, out.String())
	}
}
