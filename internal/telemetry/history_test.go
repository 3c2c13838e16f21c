package telemetry

import (
	"math"
	"slices"
	"testing"
	"time"
)

// shown are the values of the last slots, without those before the first.
func (h *History) shown(s Series, now time.Time) []float64 {
	all, _ := h.Values(s, now)
	first := slices.IndexFunc(all, func(v float64) bool { return !math.IsNaN(v) })
	if first < 0 {
		return nil
	}
	return all[first:]
}

func TestHistory(t *testing.T) {
	h := NewHistory(time.Now())
	at := func(slots float64) time.Time { return h.began.Add(time.Duration(slots * float64(HistorySlot))) }
	add := func(slots, cpu float64, interval time.Duration) {
		h.Add(&Sample{CPU: ptr(cpu), Agents: map[string]AgentSample{"cam1": {FPS: ptr(30)}}}, at(slots), interval)
	}
	same := func(what string, got []float64, want ...float64) {
		t.Helper()
		if !slices.EqualFunc(got, want, func(a, b float64) bool { return a == b || math.IsNaN(a) && math.IsNaN(b) }) {
			t.Errorf("%s: got %v, want %v", what, got, want)
		}
	}
	cpu, gap := Series{Figure: "cpu"}, math.NaN()
	add(0.2, 10, 5*time.Second)
	add(0.4, 20, 5*time.Second)
	add(1.1, 40, 5*time.Second)
	same("means of slots, and a gap", h.shown(cpu, at(1.2)), 15, 40)
	add(4.5, 50, 5*time.Second)
	same("a gap", h.shown(cpu, at(4.6)), 15, 40, gap, gap, 50)
	add(7.5, 70, 3*HistorySlot)
	same("a sample stands for its interval", h.shown(cpu, at(8.1)), 15, 40, gap, gap, 50, 70, 70, 70, gap)
	if all, end := h.Values(Series{"cam1", "fps"}, at(8.1)); len(all) != HistorySlots || !end.Equal(at(9)) {
		t.Errorf("got %d values until %v", len(all), end)
	}
	same("nothing", h.shown(Series{"cam1", "latency"}, at(8)))
	h.Add(&Sample{CPU: ptr(5)}, at(200.5), time.Second)
	same("an hour later", h.shown(cpu, at(200.6)), 5)
	same("long after the last", h.shown(cpu, at(900)))
	if len(h.all) != 1 {
		t.Errorf("it remembers %d series, want that of the box", len(h.all))
	}
	add(201, 6, time.Second)
	same("read late", h.shown(cpu, at(203)), 5, 6, gap, gap)
}
