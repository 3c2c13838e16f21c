package web

import (
	"context"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"

	"framekeeper/internal/testkit/browsertest"
)

func browser(t *testing.T) context.Context {
	t.Helper()
	return browsertest.Start(t)
}

// tab is one page, with short names for what the tests of this package do most.
type tab struct{ *browsertest.Tab }

func newTab(ctx context.Context, t *testing.T) *tab {
	t.Helper()
	return &tab{browsertest.Open(ctx, t)}
}

func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) { b.Do(actions...) }
func (b *tab) until(what, expression string)                { b.Until(what, expression) }
func (b *tab) shoot(name string)                            { b.Shoot(name) }
func (b *tab) quiet()                                       { b.Quiet() }
func (b *tab) complaints() []string                         { return b.Complaints() }
func (b *tab) scheme(name string)                           { b.Prefer("prefers-color-scheme", name) }
func ask[T any](b *tab, expression string) T                { return browsertest.Ask[T](b.Tab, expression) }

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
