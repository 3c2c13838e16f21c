package camera

import "sync"

// spareFrames bounds what the pool keeps for reuse. A Grabber needs three (one
// being filled, the newest, one with a consumer); a burst of slow consumers
// may hold more for a while, and that memory is given back afterwards.
const spareFrames = 4

// pool hands out frames whose buffers come back when the last holder releases
// them, so that steady capture allocates nothing.
type pool struct {
	mu    sync.Mutex // guards spare
	spare []*Frame
}

// get returns an empty frame with one reference.
func (p *pool) get() *Frame {
	p.mu.Lock()
	var f *Frame
	if n := len(p.spare); n > 0 {
		f = p.spare[n-1]
		p.spare[n-1] = nil
		p.spare = p.spare[:n-1]
	}
	p.mu.Unlock()
	if f == nil {
		return (&Frame{free: p.put}).Retain()
	}
	return f.Retain()
}

func (p *pool) put(f *Frame) {
	f.clear()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.spare) < spareFrames {
		p.spare = append(p.spare, f)
	}
}
