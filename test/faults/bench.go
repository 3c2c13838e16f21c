package main

import (
	"fmt"
	"io"
	"os"
	"sync"
)

// bench is what redistest calls a TB, for one row of a program: it owns the
// row's directories and servers and takes them down when the row is over.
type bench struct {
	name string
	out  io.Writer // receives Logf

	mu       sync.Mutex // guards all below
	cleanups []func()
	broken   bool
}

// fatal is what Fatalf panics with; only bench.run recovers it.
type fatal struct{ text string }

func (b *bench) Helper()      {}
func (b *bench) Name() string { return b.name }

func (b *bench) Failed() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.broken
}

func (b *bench) Logf(format string, args ...any) {
	fmt.Fprintf(b.out, "  "+format+"\n", args...)
}

// Fatalf ends the row. Only the goroutine that runs the row may call it.
func (b *bench) Fatalf(format string, args ...any) {
	b.mu.Lock()
	b.broken = true
	b.mu.Unlock()
	panic(fatal{fmt.Sprintf(format, args...)})
}

func (b *bench) Cleanup(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cleanups = append(b.cleanups, f)
}

// TempDir is short, because a unix socket's path in it has to be.
func (b *bench) TempDir() string {
	dir, err := os.MkdirTemp("", "fk-faults-")
	if err != nil {
		b.Fatalf("make directory: %v", err)
	}
	b.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// run does the row and takes down whatever it set up. The error is Fatalf's.
func (b *bench) run(row func()) (err error) {
	defer b.close()
	defer func() {
		switch p := recover().(type) {
		case nil:
		case fatal:
			err = fmt.Errorf("%s", p.text)
		default:
			panic(p)
		}
	}()
	row()
	return nil
}

func (b *bench) close() {
	for {
		b.mu.Lock()
		n := len(b.cleanups)
		if n == 0 {
			b.mu.Unlock()
			return
		}
		f := b.cleanups[n-1]
		b.cleanups = b.cleanups[:n-1]
		b.mu.Unlock()
		f()
	}
}
