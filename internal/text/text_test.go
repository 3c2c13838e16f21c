package text

import (
	"testing"
	"time"
)

func TestCount(t *testing.T) {
	for _, c := range []struct {
		n    int
		want string
	}{{0, "0 restarts"}, {1, "1 restart"}, {2, "2 restarts"}} {
		if got := Count(c.n, "restart"); got != c.want {
			t.Errorf("%d: got %q, want %q", c.n, got, c.want)
		}
	}
}

func TestLasting(t *testing.T) {
	for _, c := range []struct {
		d    time.Duration
		want string
	}{
		{-time.Hour, "0 s"},
		{400 * time.Millisecond, "0 s"},
		{59*time.Second + 600*time.Millisecond, "1 min"},
		{48 * time.Second, "48 s"},
		{200 * time.Second, "3 min 20 s"},
		{time.Hour, "1 h"},
		{3*time.Hour + 22*time.Minute + 59*time.Second, "3 h 22 min"},
		{51*time.Hour + time.Second, "2 d 3 h"},
		{24*time.Hour + 59*time.Second, "1 d"},
		{1<<63 - 1, "106751 d 23 h"},
	} {
		if got := Lasting(c.d); got != c.want {
			t.Errorf("%v: got %q, want %q", c.d, got, c.want)
		}
	}
}
