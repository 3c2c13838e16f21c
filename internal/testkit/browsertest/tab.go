package browsertest

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// Patience is how long a condition on a page may take on a busy machine.
const Patience = 30 * time.Second

// Tab is one page, and what went wrong in it. Its methods belong to the test's
// goroutine, and end the test when the browser fails.
type Tab struct {
	t   *testing.T
	ctx context.Context //nolint:containedctx // chromedp keeps the tab in it

	mu   sync.Mutex // guards said
	said []string   // on its console, and by the browser about it

	axe string // the source of axe-core, once it was needed
}

// Open makes a tab of 1280 × 800 pixels in a browser that Start started.
func Open(ctx context.Context, t *testing.T) *Tab {
	t.Helper()
	b := &Tab{t: t}
	ctx, cancel := chromedp.NewContext(ctx, chromedp.WithListener(b.listen))
	t.Cleanup(cancel)
	b.ctx = ctx
	b.Do(chromedp.EmulateViewport(1280, 800))
	return b
}

// listen hears of uncaught errors, of whatever is written to the console, and of
// violated security policies.
func (b *Tab) listen(event any) {
	text := ""
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		text = "uncaught: " + e.ExceptionDetails.Text
	case *runtime.EventConsoleAPICalled:
		text = "console: " + string(e.Type)
	case *log.EventEntryAdded:
		text = e.Entry.Text + " " + e.Entry.URL
	default:
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.said = append(b.said, text)
}

// Complaints are what was said so far, and forgotten then.
func (b *Tab) Complaints() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	said := b.said
	b.said = nil
	return said
}

// Quiet wants that the browser has found nothing wrong.
func (b *Tab) Quiet() {
	b.t.Helper()
	if said := b.Complaints(); len(said) > 0 {
		b.t.Errorf("the browser complains:\n%s", strings.Join(said, "\n"))
	}
}

// Do carries out actions, one after the other.
func (b *Tab) Do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// Call calls a method of the browser's protocol.
func Call[P, R any](b *Tab, method cdp.Command[P, R], params P) {
	b.t.Helper()
	if _, err := chromedp.Call(b.ctx, method, params); err != nil {
		b.t.Fatal(err)
	}
}

// Prefer says what the reader prefers: "prefers-color-scheme", "dark".
func (b *Tab) Prefer(features ...string) {
	b.t.Helper()
	var media []*emulation.MediaFeature
	for i := 0; i+1 < len(features); i += 2 {
		media = append(media, &emulation.MediaFeature{Name: features[i], Value: features[i+1]})
	}
	Call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: media})
}

// Ask evaluates an expression in the page.
func Ask[T any](b *Tab, expression string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// Until waits until an expression is true in the page.
func (b *Tab) Until(what, expression string) {
	b.t.Helper()
	limit := time.NewTimer(Patience)
	defer limit.Stop()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for {
		// While the page is being loaded anew there is none to ask.
		if ok, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool](expression)); err == nil && ok {
			return
		}
		select {
		case <-look.C:
		case <-limit.C:
			text := Ask[string](b, "document.title + '\\n' + document.body.innerText")
			b.t.Fatalf("waited %s in vain for %s (%s); the page is\n%s", Patience, what, expression, text)
		}
	}
}

// Shoot saves the page as a picture for people to look at, if PAGE_SHOTS names a
// directory for it.
func (b *Tab) Shoot(name string) {
	b.t.Helper()
	dir := os.Getenv("PAGE_SHOTS")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o600); err != nil {
		b.t.Fatal(err)
	}
}
