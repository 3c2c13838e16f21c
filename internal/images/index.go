package images

import (
	"cmp"
	"slices"
	"time"
)

// entry is one stored file.
type entry struct {
	name
	size   int64
	stored time.Time // when, by this machine's clock; a camera's clock may be wrong
}

// index lists every stored file in the order of storing, so that neither the
// search for a duplicate nor that for the oldest reads a directory. It takes
// about 250 bytes of memory a file.
type index struct {
	queue    []entry // oldest first, from head on
	head     int
	known    map[key]struct{}
	bytes    int64 // of all entries
	reserved int64 // of files being written
}

func newIndex(entries []entry) index {
	slices.SortFunc(entries, func(a, b entry) int {
		// Those stored in 1970 all count as stored now; their IDs tell which boot is older.
		return cmp.Or(a.stored.Compare(b.stored), a.id.Compare(b.id), cmp.Compare(a.captured, b.captured))
	})
	x := index{known: make(map[key]struct{}, len(entries))}
	for _, e := range entries {
		x.push(e)
	}
	return x
}

func (x *index) len() int { return len(x.queue) - x.head }

func (x *index) has(k key) bool {
	_, ok := x.known[k]
	return ok
}

func (x *index) push(e entry) {
	x.queue = append(x.queue, e)
	x.known[e.key] = struct{}{}
	x.bytes += e.size
}

// oldest is the entry to delete next.
func (x *index) oldest() (entry, bool) {
	if x.len() == 0 {
		return entry{}, false
	}
	return x.queue[x.head], true
}

func (x *index) pop() {
	e := x.queue[x.head]
	x.queue[x.head] = entry{} // release its strings
	x.head++
	delete(x.known, e.key)
	x.bytes -= e.size
	if x.head > 1024 && x.head > len(x.queue)/2 {
		n := copy(x.queue, x.queue[x.head:])
		clear(x.queue[n:])
		x.queue, x.head = x.queue[:n], 0
	}
}
