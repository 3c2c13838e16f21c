package agent

import (
	"slices"
	"testing"
	"time"
)

// A part that waits for a hung disk must not prevent the end of the process.
func TestPartsThatHangAreAbandoned(t *testing.T) {
	var running parts
	hung := make(chan struct{})
	running.start("spool", func() { <-hung })
	running.start("camera", func() {})
	if got := running.join(100 * time.Millisecond); !slices.Equal(got, []string{"spool"}) {
		t.Errorf("parts %q are left, want the one that hangs", got)
	}
	close(hung)
	if got := running.join(20 * time.Second); len(got) > 0 {
		t.Errorf("parts %q are left, want none", got)
	}
}
