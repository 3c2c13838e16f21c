package main

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"sync"
	"time"
)

// This file and those named loss* and rows_loss* measure "nothing lost": each
// row hurts one agent in one way, maybe many times and over many starts of it,
// and afterwards accounts for every ID that was given.
//
//	go run ./test/faults -mode loss
//
// A clock that jumps under a running agent is not among the rows: Go reads the
// clock without libc, so libfaketime has no hold on it, and a time namespace
// moves the monotonic clocks only. frame.Clock's unit tests stand for it; the
// clock that is wrong at a start is a row.

// lossRow is one way to lose frames.
type lossRow struct {
	name   string
	unable func() error // why it cannot be shown here; nil: it always can
	run    func(s *scene)
}

// lossResult is one finished row.
type lossResult struct {
	Name     string   `json:"row"`
	Skipped  string   `json:"skipped,omitempty"`
	Took     string   `json:"took"`
	Books    books    `json:"books"`             // of the reader that keeps up
	Laggard  *books   `json:"laggard,omitempty"` // of one that was held back
	Figures  []string `json:"figures,omitempty"`
	Problems []string `json:"problems,omitempty"`
}

const (
	fullTarget  = 1000 // IDs that a row has at least
	shortTarget = 200
)

func lossRows() []*lossRow {
	var all []*lossRow
	for _, group := range [][]*lossRow{dataRows(), refusalRows(), poisonRows(), readerRows(), writerRows(), diskRows(), tornRows(), killNineRows()} {
		all = append(all, group...)
	}
	return all
}

// lossMode runs the rows one after the other and prints them.
func (o *options) lossMode() error {
	if err := o.buildClient(); err != nil {
		return err
	}
	var all []lossResult
	for _, row := range lossRows() {
		if !o.run.MatchString(row.name) || o.ctx.Err() != nil {
			continue
		}
		res := o.lossRow(row)
		all = append(all, res)
		fmt.Fprintf(o.notes, "%s: %s\n", row.name, res.Took)
	}
	return o.finish(all, o.printLosses(all))
}

func (o *options) printLosses(all []lossResult) (wrong []string) {
	fmt.Fprintln(o.out, "captured = delivered + declared + trimmed + unknown (kill -9 only) + undeclared")
	g := newGrid(o.out, "row", "reader", "captured", "delivered", "declared", "trimmed", "unknown", "duplicates", "undeclared", "also measured", "verdict")
	cells := func(name, reader string, b books, also, verdict string) {
		g.row(name, reader, fmt.Sprint(b.Captured), fmt.Sprint(b.Delivered), fmt.Sprint(b.Declared), fmt.Sprint(b.Trimmed),
			fmt.Sprint(b.Unknown), fmt.Sprint(b.Duplicates), fmt.Sprint(b.Undeclared), also, verdict)
	}
	for _, res := range all {
		also := ""
		for i, figure := range res.Figures {
			if i > 0 {
				also += "; "
			}
			also += figure
		}
		verdict := "kept"
		switch {
		case res.Skipped != "":
			verdict = "skipped: " + res.Skipped
		case len(res.Problems) > 0:
			verdict = "MISSED"
			for _, p := range res.Problems {
				wrong = append(wrong, res.Name+": "+p)
			}
		}
		cells(res.Name, "in step", res.Books, also, verdict)
		if res.Laggard != nil {
			cells("", "lagging", *res.Laggard, "", "")
		}
	}
	g.end()
	return wrong
}

// lossRow runs one row.
func (o *options) lossRow(row *lossRow) (res lossResult) {
	res.Name = row.name
	if row.unable != nil {
		if err := row.unable(); err != nil {
			res.Skipped = err.Error()
			return res
		}
	}
	began := time.Now()
	b := &bench{name: row.name, out: o.notes}
	s := o.newScene(b, hash(row.name))
	if err := b.run(func() {
		row.run(s)
		s.close(&res)
	}); err != nil {
		s.problem("%v", err)
	}
	res.Problems, res.Figures = s.problems, s.figures
	res.Took = time.Since(began).Round(100 * time.Millisecond).String()
	return res
}

func (o *options) newScene(b *bench, seed uint64) *scene {
	r := &rig{bench: b, ctx: o.ctx, bin: o.bin, log: o.agentLog, short: o.short, random: rand.New(rand.NewPCG(o.seed, seed))}
	return newScene(r)
}

// hash gives each row random numbers of its own, the same in each run.
func hash(name string) (h uint64) {
	for _, c := range name {
		h = h*31 + uint64(c)
	}
	return h
}

// together runs rows side by side: they wait more than they work.
func (o *options) together(rows []*lossRow, lanes int, match *regexp.Regexp) []lossResult {
	results := make([]lossResult, len(rows))
	next := make(chan int)
	var wg sync.WaitGroup
	for range lanes {
		wg.Go(func() {
			for i := range next {
				results[i] = o.lossRow(rows[i])
			}
		})
	}
	for i := range rows {
		if match == nil || match.MatchString(rows[i].name) {
			next <- i
		}
	}
	close(next)
	wg.Wait()
	return results
}
