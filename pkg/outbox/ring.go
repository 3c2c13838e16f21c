package outbox

// ring is a double-ended queue: neither end costs a move or keeps what was
// taken out reachable. Its zero value is empty and ready.
type ring[T any] struct {
	slots []T
	head  int
	count int
}

func (r *ring[T]) len() int { return r.count }

func (r *ring[T]) slot(i int) *T { return &r.slots[(r.head+i)%len(r.slots)] }

// at is the i-th element from the head; i must be below len.
func (r *ring[T]) at(i int) T { return *r.slot(i) }

func (r *ring[T]) set(i int, v T) { *r.slot(i) = v }

func (r *ring[T]) grow() {
	if r.count < len(r.slots) {
		return
	}
	slots := make([]T, max(16, 2*len(r.slots)))
	for i := range r.count {
		slots[i] = r.at(i)
	}
	r.slots, r.head = slots, 0
}

// push adds at the tail.
func (r *ring[T]) push(v T) {
	r.grow()
	r.count++
	r.set(r.count-1, v)
}

// unpop adds at the head.
func (r *ring[T]) unpop(v T) {
	r.grow()
	r.head = (r.head + len(r.slots) - 1) % len(r.slots)
	r.count++
	r.set(0, v)
}

// pop takes from the head; the ring must not be empty.
func (r *ring[T]) pop() T {
	v := r.at(0)
	var zero T
	r.set(0, zero)
	r.head = (r.head + 1) % len(r.slots)
	r.count--
	return v
}

// popLast takes from the tail; the ring must not be empty.
func (r *ring[T]) popLast() T {
	v := r.at(r.count - 1)
	var zero T
	r.set(r.count-1, zero)
	r.count--
	return v
}

// remove takes out the i-th element; the cost is the distance from the head.
func (r *ring[T]) remove(i int) T {
	v := r.at(i)
	for ; i > 0; i-- {
		r.set(i, r.at(i-1))
	}
	r.pop()
	return v
}
