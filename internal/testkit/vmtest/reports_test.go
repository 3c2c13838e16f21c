package vmtest

import (
	"fmt"
	"testing"
)

func TestReports(t *testing.T) {
	got := reports("noise\n" + Section + "a\n\x16=== RUN   TestX\n\x16=== RUN   TestX/one\n    x.go:1: said\n" +
		"\x16--- SKIP: TestX/one (0.1s)\n\x16=== NAME  TestX\n\x16--- FAIL: TestX (0.1s)\nFAIL\n" + Section + "b\n=== RUN   TestX\n    said too\npanic: it\n")
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
