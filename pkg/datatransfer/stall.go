package datatransfer

import (
	"sync"
	"time"
)

// stallLook is how often a batch on its way is looked at.
const stallLook = 50 * time.Millisecond

// sending does send and watches it meanwhile. While no answer comes and the far
// kernel takes no bytes either, Redis may be frozen or the network gone, which
// the probe will only know when its time is over: until then frames would pile
// up in memory, where a kill or a power cut takes them. They go to disk instead.
// A slow line moves, and wears out no SD card.
func (o *Outbox) sending(s *Session, send func() error) error {
	done := make(chan struct{})
	var looking sync.WaitGroup
	looking.Go(func() {
		tick := time.NewTicker(stallLook)
		defer tick.Stop()
		for before := s.target.Acked(); ; {
			select {
			case <-tick.C:
			case <-done:
				return
			}
			now := s.target.Acked()
			if now == before && !o.stalled.Swap(true) {
				poke(o.store)
			}
			before = now
		}
	})
	err := send()
	close(done)
	looking.Wait()
	o.stalled.Store(false)
	return err
}
