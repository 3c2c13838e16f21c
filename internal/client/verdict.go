package client

import (
	"errors"
	"fmt"
	"strings"
)

// verdict is why the run was not in order, on one line, or nil. It is asked
// after the end.
func (r *runner) verdict() error {
	if r.broken != nil {
		return fmt.Errorf("the link to Redis has ended: %w", r.broken)
	}
	if s := r.link.Status(); s.Sessions == 0 && s.Detail != "" {
		return fmt.Errorf("Redis was never reached: %s; %s", s.Detail, s.Cause.Advice()) //nolint:staticcheck // a name
	}
	var wrong []string
	for _, f := range r.feeds {
		t := f.totals()
		if faults := f.faults(&t); len(faults) > 0 {
			wrong = append(wrong, fmt.Sprintf("camera %s: %s", f.cam.Name, strings.Join(faults, ", ")))
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return errors.New(strings.Join(wrong, "; "))
}

// faults are what went wrong with one camera. What came late, twice or damaged
// is dealt with and counted, and no fault of the run.
func (f *feed) faults(t *totals) []string {
	var faults []string
	if t.requests > 0 && t.answered == 0 && t.frames == 0 {
		faults = append(faults, fmt.Sprintf("nothing arrived for %d requests (%d error replies, %d without an answer)",
			t.requests, t.errors, t.unanswered()))
	} else if lost := t.lost(); lost > 0 {
		faults = append(faults, fmt.Sprintf("%d lost (%d requests without an answer, %d holes in the stream)",
			lost, lost-t.undeclared, t.undeclared))
	}
	if t.dropped > 0 {
		faults = append(faults, fmt.Sprintf("%d frames not stored", t.dropped))
	}
	if err := f.refusal.Load(); err != nil {
		faults = append(faults, fmt.Sprintf("images could not be stored at the end: %s", *err))
	}
	return faults
}
