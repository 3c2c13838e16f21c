package outbox

import (
	"bytes"
	"slices"
	"testing"

	"framekeeper/pkg/frame"
)

// sized is an item whose message has an image of n bytes.
func sized(t testing.TB, seq uint64, n int) *Item {
	t.Helper()
	m, err := frame.NewMessage(frame.Header{Camera: "c", ID: id(100, seq), Status: frame.StatusOK}, make([]byte, n))
	if err != nil {
		t.Fatal(err)
	}
	return NewItem(m)
}

// compareList does to a list and to a slice what the bytes say, and compares them.
func compareList(t testing.TB, script []byte) {
	t.Helper()
	var l list
	var want []*item
	for i, b := range script {
		e := &item{id: id(100, uint64(i))}
		switch op := b % 8; {
		case op < 3:
			l.push(e)
			want = append(want, e)
		case op == 3:
			l.insert(len(want)/2, e)
			want = slices.Insert(want, len(want)/2, e)
		case len(want) == 0:
		default:
			at := int(b/8) % len(want)
			if got := l.remove(at); got != want[at] {
				t.Fatalf("step %d of %v: remove gave the wrong item", i, script)
			}
			want = slices.Delete(slices.Clone(want), at, at+1)
		}
		if !slices.Equal([]*item(l), want) {
			t.Fatalf("step %d of %v: got other items than were put there", i, script)
		}
	}
	for _, e := range l[len(l):cap(l)] {
		if e != nil {
			t.Fatalf("%v: an item that was removed is still reachable", script)
		}
	}
}

func TestListGrowsAndShrinks(t *testing.T) {
	t.Parallel()
	compareList(t, bytes.Repeat([]byte{0, 1, 2, 5}, 60))
	compareList(t, bytes.Repeat([]byte{0, 5}, 60))
	compareList(t, bytes.Repeat([]byte{3, 3, 77, 0, 45, 3, 12}, 40)) // anywhere
	compareList(t, append(bytes.Repeat([]byte{3}, 100), bytes.Repeat([]byte{255}, 110)...))
}

func FuzzList(f *testing.F) {
	f.Add([]byte{0, 0, 3, 5, 7, 4, 3, 3, 5})
	f.Add(bytes.Repeat([]byte{3, 0, 5}, 30))
	f.Fuzz(func(t *testing.T, script []byte) { compareList(t, script[:min(len(script), 200)]) })
}
