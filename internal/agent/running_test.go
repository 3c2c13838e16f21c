package agent

import (
	"slices"
	"testing"
	"time"
)

// A part that a hung disk holds must not keep the process alive for ever.
func TestPartsThatHangAreNotWaitedFor(t *testing.T) {
	var parts running
	hung := make(chan struct{})
	parts.run("spool", func() { <-hung })
	parts.run("camera", func() {})
	if got := parts.join(100 * time.Millisecond); !slices.Equal(got, []string{"spool"}) {
		t.Errorf("parts %q are left, want the one that hangs", got)
	}
	close(hung)
	if got := parts.join(20 * time.Second); len(got) > 0 {
		t.Errorf("parts %q are left, want none", got)
	}
}
