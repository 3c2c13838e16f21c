package supervise

import (
	"strconv"
	"sync"
	"time"

	"framekeeper/internal/sdnotify"
)

// FramesVariable is what an agent's notifications tell beyond systemd's own:
// how many new frames its camera has given in this process.
const FramesVariable = "X_FRAMEKEEPER_FRAMES"

// startPatience is how many times watchdog_timeout an agent may take until its
// first sign of life: its libraries may come from a slow card.
const startPatience = 3

// pulse is what one process says of itself, and when it last did.
type pulse struct {
	listener *sdnotify.Listener
	timeout  time.Duration // 0: its silence means nothing
	heard    chan struct{} // capacity 1: a message came
	done     chan struct{} // closed when all it said has been heard

	mu     sync.Mutex // guards all below
	beaten bool       // a sign of life has come since the last look
	ready  bool
	frames uint64
	says   string
}

func newPulse(timeout time.Duration) (*pulse, error) {
	l, err := sdnotify.Listen()
	if err != nil {
		return nil, err
	}
	return &pulse{listener: l, timeout: timeout, heard: make(chan struct{}, 1), done: make(chan struct{})}, nil
}

// listen hears the process until finish.
func (p *pulse) listen(pid int) {
	defer close(p.done)
	for {
		m, err := p.listener.Receive(pid)
		if err != nil {
			return
		}
		p.take(m)
		select {
		case p.heard <- struct{}{}:
		default:
		}
	}
}

func (p *pulse) take(m sdnotify.Message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	// Only this counts as one: a process in which something hangs may still tell
	// how it is.
	p.beaten = p.beaten || m["WATCHDOG"] == "1"
	p.ready = p.ready || m["READY"] == "1"
	if n, err := strconv.ParseUint(m[FramesVariable], 10, 64); err == nil {
		p.frames = n
	}
	if says, ok := m["STATUS"]; ok {
		p.says = printable([]byte(says))
	}
}

// finish is called when the process has ended: what it said before is heard.
func (p *pulse) finish() {
	p.listener.Finish()
	<-p.done
	_ = p.listener.Close()
}

func (p *pulse) state() (frames uint64, says string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.frames, p.says
}

func (p *pulse) isReady() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ready
}

// beat says whether a sign of life has come since it was last called.
func (p *pulse) beat() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	beaten := p.beaten
	p.beaten = false
	return beaten
}

// silence measures how long a process has given no sign of life.
type silence struct {
	limit time.Duration
	timer *time.Timer // nil: no limit
	due   time.Time
}

func (p *pulse) newSilence() *silence {
	s := &silence{limit: p.timeout}
	if p.timeout > 0 {
		first := startPatience * p.timeout
		s.timer, s.due = time.NewTimer(first), time.Now().Add(first)
	}
	return s
}

// broken is called at each sign of life.
func (s *silence) broken() {
	if s.timer != nil {
		s.timer.Reset(s.limit)
		s.due = time.Now().Add(s.limit)
	}
}

// over is the moment to look whether the silence has lasted too long.
func (s *silence) over() <-chan time.Time {
	if s.timer == nil {
		return nil
	}
	return s.timer.C
}

// tooLong tells a process that was silent from one that we were kept from
// hearing: a look that comes late by itself proves nothing.
func (s *silence) tooLong() bool {
	if time.Since(s.due) < s.limit/4 {
		return true
	}
	s.broken()
	return false
}

func (s *silence) end() {
	if s.timer != nil {
		s.timer.Stop()
	}
}
