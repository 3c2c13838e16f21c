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

const (
	// BeatInterval is the longest pause between two signs of life, however long
	// the watchdog waits.
	BeatInterval = time.Second
	// silentAfter is how long a process that has given one may give none until that
	// is reported. It costs nobody anything, unlike being killed.
	silentAfter = 3 * BeatInterval
)

// startPatience is how many times watchdog_timeout an agent may take until its
// first sign of life: its libraries may come from a slow card.
const startPatience = 3

// notifications are what one process says of itself, and when it last did.
type notifications struct {
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

func listen(timeout time.Duration) (*notifications, error) {
	l, err := sdnotify.Listen()
	if err != nil {
		return nil, err
	}
	return &notifications{listener: l, timeout: timeout, heard: make(chan struct{}, 1), done: make(chan struct{})}, nil
}

// listen hears the process until finish.
func (p *notifications) listen(pid int) {
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

func (p *notifications) take(m sdnotify.Message) {
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
func (p *notifications) finish() {
	p.listener.Finish()
	<-p.done
	_ = p.listener.Close()
}

func (p *notifications) state() (frames uint64, says string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.frames, p.says
}

func (p *notifications) isReady() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ready
}

// beat says whether a sign of life has come since it was last called.
func (p *notifications) beat() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	beaten := p.beaten
	p.beaten = false
	return beaten
}

// watchdog measures how long a process has given no sign of life.
type watchdog struct {
	limit time.Duration
	heard time.Time // the last one; zero before the first
	dead  deadline  // at limit
	late  deadline  // at silentAfter, once it has given one
}

func (p *notifications) newWatchdog() *watchdog {
	s := &watchdog{limit: p.timeout}
	if p.timeout > 0 {
		s.dead.set(startPatience * p.timeout)
	}
	return s
}

// broken is called at each sign of life.
func (s *watchdog) broken() {
	s.heard = time.Now()
	if s.limit > 0 {
		s.dead.set(s.limit)
		s.late.set(silentAfter)
	}
}

// tooLong distinguishes a process that was silent from one that we were kept from
// hearing: a look that comes late by itself proves nothing.
func (s *watchdog) tooLong() bool { return s.dead.inTime(s.limit) }

// strange is the same for the moment when the silence is to be reported.
func (s *watchdog) strange() bool { return s.late.inTime(silentAfter) }

func (s *watchdog) end() {
	s.dead.stop()
	s.late.stop()
}

// deadline is a moment at which to look.
type deadline struct {
	timer *time.Timer // nil: there is none
	due   time.Time
}

func (a *deadline) set(after time.Duration) {
	a.due = time.Now().Add(after)
	if a.timer == nil {
		a.timer = time.NewTimer(after)
		return
	}
	a.timer.Reset(after)
}

func (a *deadline) over() <-chan time.Time {
	if a.timer == nil {
		return nil
	}
	return a.timer.C
}

// inTime says whether the look comes when it was due, and sets the deadline again
// if not.
func (a *deadline) inTime(limit time.Duration) bool {
	if time.Since(a.due) < limit/4 {
		return true
	}
	a.set(limit)
	return false
}

func (a *deadline) stop() {
	if a.timer != nil {
		a.timer.Stop()
	}
}
