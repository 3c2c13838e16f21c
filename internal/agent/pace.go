package agent

import "time"

// pace chooses frames so that publish_fps of them a second go out, whatever the
// camera's own rate is. It is for one goroutine.
type pace struct {
	interval time.Duration // 0: none
	slack    time.Duration // a frame that early is good enough
	next     time.Time
}

func newPace(fps float64, frameInterval time.Duration) pace {
	if fps <= 0 {
		return pace{}
	}
	p := pace{interval: time.Duration(float64(time.Second) / fps)}
	p.slack = min(frameInterval, p.interval) / 2
	return p
}

// due reports whether the frame captured at t goes out.
func (p *pace) due(t time.Time) bool {
	if p.interval == 0 {
		return false
	}
	if t.Add(p.slack).Before(p.next) {
		return false
	}
	if p.next = p.next.Add(p.interval); !p.next.After(t) {
		p.next = t.Add(p.interval) // the first one, or frames had stopped: no burst to catch up
	}
	return true
}
