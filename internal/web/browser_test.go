package web

import (
	"context"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// browser starts a real one, which ends with the test. A tab of it is what
// newTab makes.
func browser(t *testing.T) context.Context {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a browser")
	}
	var path string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		t.Skip("no chromium, chromium-browser or google-chrome in PATH: apt-get install chromium")
	}
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

// tab is one page, and what went wrong in it.
type tab struct {
	t   *testing.T
	ctx context.Context //nolint:containedctx // chromedp keeps the tab in it

	mu   sync.Mutex // guards said
	said []string   // on its console, and by the browser about it
}

func newTab(ctx context.Context, t *testing.T) *tab {
	t.Helper()
	b := &tab{t: t}
	ctx, cancel := chromedp.NewContext(ctx, chromedp.WithListener(b.listen))
	t.Cleanup(cancel)
	b.ctx = ctx
	b.do(chromedp.EmulateViewport(1280, 800))
	return b
}

// listen hears of uncaught errors, of whatever is written to the console, and of
// violated security policies.
func (b *tab) listen(event any) {
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

// complaints are what was said so far, and forgotten then.
func (b *tab) complaints() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	said := b.said
	b.said = nil
	return said
}

// quiet wants that the browser has found nothing wrong.
func (b *tab) quiet() {
	b.t.Helper()
	if said := b.complaints(); len(said) > 0 {
		b.t.Errorf("the browser complains:\n%s", strings.Join(said, "\n"))
	}
}

func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// scheme is the colour scheme that the reader prefers.
func (b *tab) scheme(name string) {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}},
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

// ask evaluates an expression in the page.
func ask[T any](b *tab, expression string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// until waits until an expression is true in the page.
func (b *tab) until(what, expression string) {
	b.t.Helper()
	limit := time.NewTimer(30 * time.Second)
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
			text := ask[string](b, "document.title + '\\n' + document.body.innerText")
			b.t.Fatalf("waited 30 s in vain for %s (%s); the page is\n%s", what, expression, text)
		}
	}
}

// board is a report that changes under the server's hands.
type board struct {
	mu  sync.Mutex // guards now; who holds it makes the server hang
	now Report
}

func newBoard() *board { return &board{now: good()} }

func (b *board) report() Report {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

// change changes the report by a fresh one, because handlers may hold the other.
func (b *board) change(by func(*Report)) {
	r := good()
	by(&r)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = r
}
