// Package browsertest shows pages to a real Chromium, looks at them, and has axe-core
// judge whether everybody can use them.
//
// A test starts one browser and opens as many tabs as it needs; both end with it. A
// test is skipped where there is no browser, with what to install, and fails for that
// with CI=true.
package browsertest

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// Start starts a browser, which ends with the test. A tab of it is what Open makes.
func Start(t *testing.T) context.Context {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a browser")
	}
	path := find(t)
	// The sandbox is nothing for root, nor for most containers; what is looked at
	// here is our own.
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.ExecPath(path), chromedp.NoSandbox)
	ctx, cancel := chromedp.NewExecAllocator(context.WithoutCancel(t.Context()), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx, chromedp.WithErrorf(t.Logf))
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start %s: %v", path, err)
	}
	process := chromedp.FromContext(ctx).Browser.Process()
	t.Cleanup(func() {
		limited, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		if err := chromedp.Cancel(limited); err != nil {
			t.Errorf("end %s: %v", path, err)
		}
		if err := process.Signal(syscall.Signal(0)); err == nil {
			t.Errorf("%s, pid %d, is still there", path, process.Pid)
		}
	})
	return ctx
}

func find(t *testing.T) string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	missing(t, "no chromium, chromium-browser or google-chrome in PATH: apt-get install chromium")
	return ""
}

// missing skips the test for want of something that scripts/test.sh installs.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(what)
	}
	t.Skip(what)
}
