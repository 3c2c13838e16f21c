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
	return NewItem(m, nil)
}

// drive does to a queue and to a slice what the bytes say, and compares them.
func drive(t testing.TB, script []byte) {
	t.Helper()
	var q queue
	var want []*Item
	for i, b := range script {
		item := sized(t, uint64(i), int(b))
		switch op := b % 8; {
		case op < 3:
			q.push(item)
			want = append(want, item)
		case op == 3:
			q.pushFront(item)
			want = slices.Insert(want, 0, item)
		case op == 4 && len(want) > 0:
			item.setMessage(sized(t, 0, 1).Message()) // not in the queue: changes nothing
			q.setMessage(want[0], sized(t, 0, int(b)*3).Message())
		case len(want) == 0:
		case op < 7:
			slot := &q.items[0]
			if got := q.pop(); got != want[0] || *slot != nil {
				t.Fatalf("step %d of %v: pop gave the wrong item, or it is still reachable", i, script)
			}
			want = want[1:]
		default:
			if got := q.popLast(1)[0]; got != want[len(want)-1] {
				t.Fatalf("step %d of %v: popLast gave the wrong item", i, script)
			}
			want = want[:len(want)-1]
		}
		size := int64(0)
		for j, w := range want {
			size += w.memory
			if q.items[j] != w {
				t.Fatalf("step %d of %v: item %d is not the one put there", i, script, j)
			}
		}
		if len(q.items) != len(want) || q.bytes != size {
			t.Fatalf("step %d of %v: %d items of %d bytes, want %d of %d", i, script, len(q.items), q.bytes, len(want), size)
		}
	}
	for _, e := range q.items[len(q.items):cap(q.items)] {
		if e != nil {
			t.Fatalf("%v: an item that was removed is still reachable", script)
		}
	}
}

func TestQueueWrapsAndGrows(t *testing.T) {
	t.Parallel()
	drive(t, bytes.Repeat([]byte{0, 1, 2, 5}, 60))           // grows
	drive(t, bytes.Repeat([]byte{0, 5}, 60))                 // wraps
	drive(t, bytes.Repeat([]byte{3, 3, 7, 0, 5, 3, 12}, 40)) // at both ends
	drive(t, append(bytes.Repeat([]byte{3}, 100), bytes.Repeat([]byte{7}, 110)...))
}

func FuzzQueue(f *testing.F) {
	f.Add([]byte{0, 0, 3, 5, 7, 4, 3, 3, 5})
	f.Add(bytes.Repeat([]byte{3, 0, 5}, 30))
	f.Fuzz(func(t *testing.T, script []byte) { drive(t, script[:min(len(script), 200)]) })
}
