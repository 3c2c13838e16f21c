package v4l2

import (
	"strings"
	"testing"
	"time"
)

func TestCapturedAt(t *testing.T) {
	now, mono := time.Now(), 100*time.Second
	for _, c := range []struct{ stamp, age time.Duration }{
		{mono, 0}, {mono - 30*time.Millisecond, 30 * time.Millisecond}, {mono - time.Minute, time.Minute}, {mono + time.Second, 0},
	} {
		got := capturedAt(now, mono, c.stamp)
		if age := now.Sub(got); age != c.age {
			t.Errorf("stamp %v at %v: age %v, want %v", c.stamp, mono, age, c.age)
		}
		if !strings.Contains(got.String(), " m=") {
			t.Error("the monotonic reading is lost")
		}
	}
}

func TestCounter(t *testing.T) {
	for _, c := range []struct {
		name      string
		sequences []uint32
		want      []uint64
	}{
		{"counts", []uint32{0, 1, 2}, []uint64{0, 1, 2}},
		{"gap", []uint32{7, 9, 12}, []uint64{7, 9, 12}},
		{"wraps", []uint32{1<<32 - 2, 1<<32 - 1, 0, 2}, []uint64{1<<32 - 2, 1<<32 - 1, 1 << 32, 1<<32 + 2}},
		{"does not count", []uint32{0, 0, 0}, []uint64{0, 1, 2}},
		{"begins anew", []uint32{50, 51, 0, 1}, []uint64{50, 51, 52, 53}},
	} {
		var n counter
		for i, s := range c.sequences {
			if got := n.next(s); got != c.want[i] {
				t.Errorf("%s: frame %d: got %d, want %d", c.name, i, got, c.want[i])
			}
		}
	}
}
