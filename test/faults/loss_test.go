package main

import (
	"os"
	"testing"
	"time"

	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/frame"
)

// TestLosses is "nothing lost" in its short form. The rows run side by side:
// they judge frames, not times.
func TestLosses(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	if err := redistest.Available(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	bin, err := build(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	o := &options{ctx: t.Context(), bin: bin, notes: testLog{t}, short: true, seed: uint64(time.Now().UnixNano())}
	if err := o.buildClient(); err != nil {
		t.Fatal(err)
	}
	for _, res := range o.together(lossRows(), 5, nil) {
		t.Run(res.Name, func(t *testing.T) {
			if res.Skipped != "" {
				t.Skip(res.Skipped)
			}
			for _, p := range res.Problems {
				t.Error(p)
			}
			t.Logf("%s: %s %q", res.Took, res.Books, res.Figures)
			if res.Laggard != nil {
				t.Logf("the laggard: %s", res.Laggard)
			}
		})
	}
}

func TestLedgerOf(t *testing.T) {
	at := time.Unix(1700000000, 0)
	ok := func(epoch, seq, sensor uint64, request string) shot {
		return shot{id: frame.ID{Epoch: epoch, Seq: seq}, status: frame.StatusOK, sensor: sensor, request: request, captured: at}
	}
	shots := []shot{
		{id: frame.ID{Epoch: 7}, status: frame.StatusStarted},
		ok(7, 1, 1, ""), ok(7, 2, 1, "a"),
		{id: frame.ID{Epoch: 7, Seq: 5}, status: frame.StatusDropped, first: frame.ID{Epoch: 7, Seq: 4}},
		ok(8, 1, 1, ""), // another start's sensor begins anew
	}
	for _, c := range []struct {
		name       string
		more       []shot
		delivered  int
		declared   int
		duplicates int
	}{
		{"as it is", nil, 3, 2, 0},
		{"an ID twice", []shot{ok(7, 1, 9, "")}, 3, 2, 1},
		{"an exposure twice", []shot{ok(7, 6, 1, "")}, 4, 2, 1},
		{"a request twice, over two starts", []shot{ok(8, 2, 1, "a")}, 4, 2, 1},
		{"declared, and there all the same", []shot{ok(7, 4, 4, "")}, 4, 1, 0},
	} {
		epochs, duplicates := ledgerOf(append(shots[:len(shots):len(shots)], c.more...))
		delivered, declared := 0, 0
		for _, e := range epochs {
			for _, what := range e.ids {
				if what == isDelivered {
					delivered++
				} else {
					declared++
				}
			}
		}
		if delivered != c.delivered || declared != c.declared || len(duplicates) != c.duplicates {
			t.Errorf("%s: got %d delivered, %d declared, %d duplicates, want %d, %d, %d",
				c.name, delivered, declared, len(duplicates), c.delivered, c.declared, c.duplicates)
		}
	}
}
