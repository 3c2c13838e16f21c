package outbox

import (
	"slices"
	"sort"

	"framekeeper/pkg/frame"
)

// list is a double-ended queue of items. An item that was removed is not reachable
// through it any more.
type list []*item

func (l *list) push(e *item) { *l = append(*l, e) }

func (l *list) insert(i int, e ...*item) { *l = slices.Insert(*l, i, e...) }

// remove takes out the i-th item; its cost is the distance from the head.
func (l *list) remove(i int) *item {
	items := *l
	e := items[i]
	copy(items[1:i+1], items[:i])
	items[0] = nil
	if *l = items[1:]; len(*l) == 0 {
		*l = nil
	}
	return e
}

// search is the index of the first item that ends at id or above it.
func (l list) search(id frame.ID) int {
	return sort.Search(len(l), func(i int) bool { return !l[i].id.Less(id) })
}
