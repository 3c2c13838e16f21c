package v4l2

import "time"

// capturedAt maps a frame's stamp on the kernel's monotonic clock to a time.Time
// with a monotonic reading. now and mono are the same instant on both clocks; now
// is read first, so that what lies between makes a frame older and never younger.
// A stamp from the future, which cameras with a clock of their own produce, is now.
func capturedAt(now time.Time, mono, stamp time.Duration) time.Time {
	return now.Add(-max(mono-stamp, 0))
}

// counter makes an endless count of the driver's 32 bits.
type counter struct {
	last  uint32
	total uint64
	began bool
}

// next is the number of the frame with this sequence. A driver that does not
// count, or begins anew, is counted on from where it was.
func (c *counter) next(sequence uint32) uint64 {
	step := int32(sequence - c.last) //nolint:gosec // two's complement is what tells forward from back
	switch {
	case !c.began:
		c.total, c.began = uint64(sequence), true
	case step > 0:
		c.total += uint64(step)
	default:
		c.total++
	}
	c.last = sequence
	return c.total
}
