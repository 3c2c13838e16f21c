package rpc

import (
	"container/list"
	"crypto/sha256"
)

// Bounds of the answers that a Server remembers.
const (
	MaxAnswers = 1000
	MaxMemory  = 16 << 20 // bytes
)

// Answer is what a Server remembers for the repeats of a request.
type Answer interface {
	Size() int64 // in bytes
}

// memory has the answers to requests by the requests' ids, the newest within its
// bounds, and which requests wait for one: those are not forgotten. Its owner locks.
type memory[A Answer] struct {
	limit   int64
	records map[string]*record[A]
	order   list.List // of *record[A]: the oldest answer first
	size    int64
}

type record[A Answer] struct {
	id      string
	content [sha256.Size]byte // of the request, where a Server is exact
	answer  A
	place   *list.Element // in the order of answers; nil: the request waits for its answer
}

func newMemory[A Answer](limit int64) memory[A] {
	return memory[A]{limit: limit, records: map[string]*record[A]{}}
}

// open records a request that waits for its answer.
func (m *memory[A]) open(id string, content [sha256.Size]byte) {
	if id != "" {
		m.records[id] = &record[A]{id: id, content: content}
	}
}

// remember records an answer, and forgets the oldest ones beyond the bounds. One
// that is larger than all of them is remembered alone.
func (m *memory[A]) remember(id string, a A) {
	if id == "" {
		return
	}
	r := m.records[id]
	if r == nil {
		r = &record[A]{id: id}
		m.records[id] = r
	}
	m.unlist(r)
	r.answer, r.place = a, m.order.PushBack(r)
	m.size += a.Size()
	for m.order.Len() > MaxAnswers || m.size > m.limit && m.order.Len() > 1 {
		oldest := m.order.Front().Value.(*record[A])
		m.unlist(oldest)
		delete(m.records, oldest.id)
	}
}

func (m *memory[A]) unlist(r *record[A]) {
	if r.place == nil {
		return
	}
	m.order.Remove(r.place)
	r.place = nil
	m.size -= r.answer.Size()
}
