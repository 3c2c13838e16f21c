package outbox

import (
	"slices"
	"sort"

	"framekeeper/pkg/frame"
)

// list is a double-ended queue of items. An item that was removed is not reachable
// through it any more.
type list []*Item

func (l *list) push(e *Item) { *l = append(*l, e) }

func (l *list) pushFront(items ...*Item) { *l = slices.Insert(*l, 0, items...) }

func (l *list) pop() *Item { return l.remove(0) }

// popLast takes the last n items out.
func (l *list) popLast(n int) []*Item {
	rest := len(*l) - n
	last := slices.Clone((*l)[rest:])
	*l = slices.Delete(*l, rest, len(*l)) // it clears what it deletes
	return last
}

// remove takes out the i-th item; its cost is the distance from the head.
func (l *list) remove(i int) *Item {
	items := *l
	e := items[i]
	copy(items[1:i+1], items[:i])
	items[0] = nil
	if *l = items[1:]; len(*l) == 0 {
		*l = nil
	}
	return e
}

// queue is the items of the log in the order of their IDs, with the number of
// bytes that they take in memory.
type queue struct {
	items list
	bytes int64
}

func (q *queue) push(e *Item) { q.items.push(e); q.bytes += e.memory }

func (q *queue) pushFront(items ...*Item) {
	q.items.pushFront(items...)
	for _, e := range items {
		q.bytes += e.memory
	}
}

func (q *queue) popLast(n int) []*Item {
	items := q.items.popLast(n)
	for _, e := range items {
		q.bytes -= e.memory
	}
	return items
}

func (q *queue) pop() *Item { return q.remove(0) }

func (q *queue) remove(i int) *Item { e := q.items.remove(i); q.bytes -= e.memory; return e }

// setMessage changes what an item of this queue has in memory; nil evicts it.
func (q *queue) setMessage(e *Item, m *frame.Message) {
	q.bytes -= e.memory
	e.setMessage(m)
	q.bytes += e.memory
}

// head is the oldest item, nil if there is none.
func (q *queue) head() *Item {
	if len(q.items) == 0 {
		return nil
	}
	return q.items[0]
}

// search is the index of the first item whose ID is not below id.
func (q *queue) search(id frame.ID) int {
	return sort.Search(len(q.items), func(i int) bool { return !q.items[i].id.Less(id) })
}
