package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"framekeeper/pkg/frame"
)

// ledger accounts for every ID the agent gave.
type ledger struct {
	Captured   uint64 `json:"captured"`
	Delivered  uint64 `json:"delivered"` // read from the stream, each once
	Declared   uint64 `json:"declared"`  // a "dropped" entry stands for them
	Duplicates uint64 `json:"duplicates"`
	Again      again  `json:"again"` // what the duplicates share
	Undeclared uint64 `json:"undeclared"`
}

// again counts duplicates by what gave them away. Exposures alone mean that the
// camera began to count anew, that is, that it was opened again.
type again struct {
	IDs       uint64 `json:"ids"`
	Requests  uint64 `json:"requests"`
	Exposures uint64 `json:"exposures"`
}

func (l *ledger) add(m ledger) {
	l.Captured += m.Captured
	l.Delivered += m.Delivered
	l.Declared += m.Declared
	l.Duplicates += m.Duplicates
	l.Again.IDs += m.Again.IDs
	l.Again.Requests += m.Again.Requests
	l.Again.Exposures += m.Again.Exposures
	l.Undeclared += m.Undeclared
}

func (l ledger) String() string {
	return fmt.Sprintf("%d/%d/%d/%d/%d", l.Captured, l.Delivered, l.Declared, l.Duplicates, l.Undeclared)
}

// account compares what was read with the IDs 1 to last of an epoch. Two entries
// are duplicates if they share an ID, or answer one request, or show one
// exposure without having been asked for.
func account(shots []shot, last frame.ID) ledger {
	l := ledger{Captured: last.Seq}
	const delivered, declared = 1, 2
	ids := make([]byte, last.Seq+1)
	exposures, requests := map[uint64]bool{}, map[string]bool{}
	for _, s := range shots {
		if s.id.Epoch != last.Epoch || s.id.Seq > last.Seq {
			continue
		}
		switch s.status {
		case frame.StatusDropped:
			for seq := s.first.Seq; seq <= s.id.Seq; seq++ {
				if ids[seq] == 0 {
					ids[seq] = declared
				}
			}
		case frame.StatusOK:
			sameID := ids[s.id.Seq] == delivered
			ids[s.id.Seq] = delivered
			switch {
			case sameID:
				l.Again.IDs++
			case s.request != "" && requests[s.request]:
				l.Again.Requests++
			case s.request == "" && exposures[s.sensor]:
				l.Again.Exposures++
			}
			if s.request != "" {
				requests[s.request] = true
			} else {
				exposures[s.sensor] = true
			}
		default:
		}
	}
	l.Duplicates = l.Again.IDs + l.Again.Requests + l.Again.Exposures
	for _, what := range ids[1:] {
		switch what {
		case delivered:
			l.Delivered++
		case declared:
			l.Declared++
		default:
			l.Undeclared++
		}
	}
	return l
}

// left is what an agent that ended in order wrote about itself.
type left struct {
	Last  frame.ID `json:"last"`
	Clean bool     `json:"clean"`
}

func readLeft(stateDir, camera string) (left, error) {
	var s left
	b, err := os.ReadFile(filepath.Join(stateDir, camera, "state.json"))
	if err != nil {
		return s, fmt.Errorf("read agent's state: %w", err)
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return s, fmt.Errorf("read agent's state: %w", err)
	}
	return s, nil
}

// span is a time during which capture is looked at.
type span struct{ from, to time.Time }

// length of the span.
func (s span) length() time.Duration { return s.to.Sub(s.from) }

// capture counts how many exposures a second lie in the span, but for the times
// in which the machine stood still, and the longest time between two of them.
func capture(shots []shot, in span, idle *stills) (fps float64, gap span) {
	n, seen := 0, map[uint64]bool{}
	last := in.from
	wider := func(to time.Time) {
		if next := (span{last, to}); next.length() > gap.length() {
			gap = next
		}
	}
	for _, s := range shots {
		if s.status != frame.StatusOK || s.captured.Before(in.from) || s.captured.After(in.to) || seen[s.sensor] {
			continue
		}
		seen[s.sensor] = true
		n++
		wider(s.captured)
		last = s.captured
	}
	wider(in.to)
	return float64(n) / (in.length() - idle.within(in)).Seconds(), gap
}
