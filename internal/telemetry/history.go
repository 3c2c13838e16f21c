package telemetry

import (
	"math"
	"sync"
	"time"
)

// A History has HistorySlots means, one for each HistorySlot.
const (
	HistorySlot  = 30 * time.Second
	HistorySlots = int(time.Hour / HistorySlot)
)

// Series names one figure of a History.
type Series struct {
	Camera string // "": of the box
	Figure string // cpu, temperature, memory, disk; of a camera fps, latency
}

// History is the last hour of the figures that charts show, in memory alone. All
// methods may be called from any goroutine.
type History struct {
	began time.Time // slots are counted from here, by a clock that does not jump

	mu     sync.Mutex // guards all below
	last   time.Time  // when the newest sample was added
	newest int        // slot that it is in
	all    map[Series]*means
}

// means are the sums in each slot, and of how many samples. Slot n is at n modulo
// their number.
type means struct {
	sum   [HistorySlots]float32
	count [HistorySlots]uint16
}

// NewHistory makes an empty one, for samples from that time on.
func NewHistory(from time.Time) *History { return &History{began: from, all: map[Series]*means{}} }

func (h *History) slot(at time.Time) int { return int(at.Sub(h.began) / HistorySlot) }

// Add takes the figures of a sample. It stands for the time since the one before, if
// that is not longer ago than two intervals.
func (h *History) Add(s *Sample, at time.Time, interval time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	first, now := h.slot(at), h.slot(at)
	if !h.last.IsZero() && at.Sub(h.last) <= 2*interval && h.newest < now {
		first = max(h.newest+1, now-HistorySlots+1)
	}
	h.advance(now)
	h.last = at
	put := func(camera, figure string, value *float64) {
		if value == nil {
			return
		}
		m := h.all[Series{camera, figure}]
		if m == nil {
			m = &means{}
			h.all[Series{camera, figure}] = m
		}
		for slot := first; slot <= now; slot++ {
			m.sum[slot%HistorySlots] += float32(*value)
			m.count[slot%HistorySlots]++
		}
	}
	put("", "cpu", s.CPU)
	put("", "temperature", s.Temperature)
	put("", "memory", s.Memory)
	put("", "disk", s.Disk)
	for camera, a := range s.Agents {
		put(camera, "fps", a.FPS)
		put(camera, "latency", a.LatencyMS)
	}
}

// advance empties the slots up to now, and forgets series without any value. The
// caller holds mu.
func (h *History) advance(now int) {
	if now <= h.newest {
		return
	}
	for series, m := range h.all {
		for slot := max(h.newest+1, now-HistorySlots+1); slot <= now; slot++ {
			m.sum[slot%HistorySlots], m.count[slot%HistorySlots] = 0, 0
		}
		if m.count == [HistorySlots]uint16{} {
			delete(h.all, series)
		}
	}
	h.newest = now
}

// Values are the means of the last hour, oldest first, NaN where there is none, and
// the time at which the last one's slot ends. nil: there are none.
func (h *History) Values(s Series, now time.Time) ([]float64, time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	newest := h.slot(now)
	end := h.began.Add(time.Duration(newest+1) * HistorySlot)
	m := h.all[s]
	if m == nil {
		return nil, end
	}
	values := make([]float64, HistorySlots)
	for i := range values {
		slot := newest - HistorySlots + 1 + i
		values[i] = math.NaN()
		if at := slot % HistorySlots; slot >= 0 && slot <= h.newest && slot > h.newest-HistorySlots && m.count[at] > 0 {
			values[i] = float64(m.sum[at]) / float64(m.count[at])
		}
	}
	return values, end
}
