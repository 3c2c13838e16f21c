package browsertest

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// A page that some cannot use is found out, one that all can is not.
func TestBarriers(t *testing.T) {
	b := Open(Start(t), t)
	b.NeedAxe()
	const page = `data:text/html,<!DOCTYPE html><html lang="en"><title>A page</title><main><h1>A page</h1>`
	b.Do(chromedp.Navigate(page + `<img src="data:," alt="">`))
	if found := b.Barriers(); len(found) > 0 {
		t.Errorf("found %q where nothing is", found)
	}
	b.Do(chromedp.Navigate(page + `<img src="data:,"><p style="color: silver">pale</p><input>`))
	found := strings.Join(b.Barriers(), "\n")
	for _, want := range []string{"image-alt", "color-contrast", "label"} {
		if !strings.Contains(found, want) {
			t.Errorf("%s was not found, but %q", want, found)
		}
	}
}
