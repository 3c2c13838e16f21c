package outbox

import (
	"sync"
	"time"

	"framekeeper/pkg/datatransfer"
)

// stallLook is how often a batch on its way is looked at.
const stallLook = 50 * time.Millisecond

// stallWatch looks at a batch that takes long. Its timer is made once: most
// batches are over before the first look, and cost no more than setting it.
type stallWatch struct {
	mu     sync.Mutex // guards all below
	timer  *time.Timer
	every  time.Duration         // between two looks
	s      *datatransfer.Session // that the batch is sent in; nil: none is
	before uint64                // bytes the far kernel had at the last look
	looked bool
}

// sending does send and watches it meanwhile. While no answer comes and the far
// kernel takes no bytes either, Redis may be frozen or the network gone, which
// the probe will only know when its time is over: until then frames would pile
// up in memory, where a kill or a power cut takes them. They go to disk instead.
// A slow line moves, and wears out no SD card. One goroutine sends.
func (o *Log) sending(s *datatransfer.Session, send func() error) error {
	w := &o.watch
	w.mu.Lock()
	w.s, w.looked = s, false
	if w.timer == nil {
		w.timer = time.AfterFunc(w.every, o.look)
	} else {
		w.timer.Reset(w.every)
	}
	w.mu.Unlock()
	err := send()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.s = nil
	w.timer.Stop()
	o.stalled.Store(false)
	return err
}

// look is what the timer calls. One that comes too late finds no batch, or
// counts as the first look at the next.
func (o *Log) look() {
	w := &o.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.s == nil {
		return
	}
	now := w.s.Acked()
	if w.looked && now == w.before && !o.stalled.Swap(true) {
		poke(o.store)
	}
	w.before, w.looked = now, true
	w.timer.Reset(w.every)
}
