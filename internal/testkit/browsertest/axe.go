package browsertest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/chromedp/chromedp"
)

// axeFile is below the repository; scripts/test.sh installs it.
const axeFile = ".cache/axe/node_modules/axe-core/axe.min.js"

// NeedAxe gives the tab axe-core, which Barriers uses until the next page is loaded.
func (b *Tab) NeedAxe() {
	b.t.Helper()
	if b.axe != "" {
		return
	}
	dir, err := os.Getwd() // of the package under test
	if err != nil {
		b.t.Fatal(err)
	}
	for !exists(filepath.Join(dir, "go.mod")) && dir != "/" {
		dir = filepath.Dir(dir)
	}
	source, err := os.ReadFile(filepath.Join(dir, axeFile))
	if err != nil {
		missing(b.t, "axe-core is missing: run scripts/test.sh once, or `npm ci --prefix .cache/axe` with the files of tools/axe there")
	}
	b.axe = string(source)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// barrier is what axe-core found in the way of some people.
type barrier struct {
	ID, Impact, Help string
	Nodes            []struct {
		HTML           string
		FailureSummary string
	}
}

// Barriers has axe-core look at the page, and returns what it calls serious or
// critical. It is evaluated from outside, which no security policy of the page forbids.
func (b *Tab) Barriers() (found []string) {
	b.t.Helper()
	b.NeedAxe()
	b.Do(chromedp.Evaluate[chromedp.Void](b.axe))
	all, err := chromedp.Run(b.ctx, chromedp.Evaluate[[]barrier](`axe.run({resultTypes: ["violations"]}).then((r) => r.violations)`, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatal(err)
	}
	for _, one := range all {
		if one.Impact != "serious" && one.Impact != "critical" {
			b.t.Logf("axe-core on %s: %s (%s)", one.ID, one.Help, one.Impact)
			continue
		}
		for _, n := range one.Nodes {
			found = append(found, fmt.Sprintf("%s: %s: %s %s", one.ID, one.Help, n.HTML, strings.ReplaceAll(n.FailureSummary, "\n", " ")))
		}
	}
	return found
}
