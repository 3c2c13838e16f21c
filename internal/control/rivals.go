package control

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/time/rate"

	"framekeeper/internal/async"
	"framekeeper/pkg/redisconn"
)

const (
	// replyTime is how long others may take to reply to an announcement, before a
	// command counts as meant for this controller alone.
	replyTime = 3 * time.Second
	// rivalTimeout is how long a rival is remembered that announces itself no
	// more. Only time with a link counts.
	rivalTimeout     = 5 * announceEvery
	maxRivals        = 100
	announcementRate = 200 // a second; more are ignored
)

// Rivals are the other controllers of this box's name on this Redis, as when two
// boxes were made from one SD card. While there are any, a command without an
// instance may be meant for each of them, so that none carries it out: there is no
// election, since whichever won might be the wrong box.
//
// They find each other by announcements on the control channel itself, which take
// no right and no key that commands do not take, and leave nothing behind in Redis.
// An announcement lists the instances whose announcements its sender receives. One
// that lists ours was written after we began, so that its sender is alive; one that
// goes on for more than half an interval counts too, since it may not receive ours.
// What a killed predecessor had still on its way does neither. A command waits
// until the session's first announcement has had its time to be replied to, which
// is none if PUBLISH counted nobody but ourselves.
//
// Everything may be called from any goroutine; one session at a time.
type Rivals struct {
	box  string
	log  func() *zerolog.Logger
	wake async.Wake // a rival has not received our announcement yet

	mu       sync.Mutex // guards all below
	self     Identity
	rivals   map[string]*rival // by instance
	rate     *rate.Limiter     // of announcements
	conflict time.Time         // since when some of them are alive; zero: none is
	decided  time.Time         // when all have had their time to reply; zero: nothing was announced in this session
	changed  chan struct{}     // closed and replaced when one of these two changes
	leaving  bool              // nothing more is announced in this session
	refused  bool              // Redis refuses announcements, and that has been logged
}

type rival struct {
	Identity
	first, last time.Time // announcements
	alive       bool      // and not only a message that came late
}

// NewRivals has none yet.
func NewRivals(box string, self Identity, log func() *zerolog.Logger) *Rivals {
	return &Rivals{
		box: box, log: log, wake: async.NewWake(), self: self, rivals: map[string]*rival{},
		rate: rate.NewLimiter(announcementRate, announcementRate), changed: make(chan struct{}),
	}
}

// Box is the name.
func (r *Rivals) Box() string { return r.box }

// Self is this controller.
func (r *Rivals) Self() Identity {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.self
}

// Alive are those that are alive, in the order of their instances.
func (r *Rivals) Alive() []Identity {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.alive()
}

// alive is for callers that hold mu.
func (r *Rivals) alive() []Identity {
	var all []Identity
	for _, o := range r.rivals {
		if o.alive {
			all = append(all, o.Identity)
		}
	}
	slices.SortFunc(all, func(a, b Identity) int { return cmp.Compare(a.Instance, b.Instance) })
	return all
}

// receive takes an announcement, our own ones too.
func (r *Rivals) receive(payload []byte, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.rate.AllowN(now, 1) {
		return
	}
	a, ok := parseAnnouncement(payload)
	if !ok || a.Instance == r.self.Instance {
		return
	}
	defer r.judge(now)
	o := r.rivals[a.Instance]
	switch {
	case a.Ends:
		delete(r.rivals, a.Instance)
		return
	case o == nil && len(r.rivals) >= maxRivals:
		return // that many are as bad as more
	}
	receivesUs := slices.Contains(a.Hears, r.self.Instance)
	if o == nil || !receivesUs { // else it has received that we have received it
		r.wake.Call()
	}
	if o == nil {
		o = &rival{first: now}
		r.rivals[a.Instance] = o
		if !r.decided.IsZero() {
			r.decided = now.Add(replyTime)
		}
	}
	o.Identity, o.last = a.Identity, now
	o.alive = o.alive || receivesUs || now.Sub(o.first) > announceEvery/2
}

// expire drops those that announce themselves no more. The caller holds mu.
func (r *Rivals) expire(now time.Time) {
	for instance, o := range r.rivals {
		if now.Sub(o.last) > rivalTimeout {
			delete(r.rivals, instance)
		}
	}
	r.judge(now)
}

// judge logs, once, that there is a name conflict, and that it is over. The caller
// holds mu.
func (r *Rivals) judge(now time.Time) {
	alive := r.alive()
	switch {
	case len(alive) > 0 && r.conflict.IsZero():
		r.conflict = now
		r.log().Error().Str("box", r.box).Str("instance", r.self.Instance).Strs("others", shown(alive)).
			Str("advice", "give each box a [controller] box of its own and reload; until then commands need --instance").
			Msg("Another controller has this box's name")
	case len(alive) == 0 && !r.conflict.IsZero():
		r.log().Info().Str("box", r.box).Stringer("lasted", now.Sub(r.conflict).Round(time.Second)).
			Msg("No other controller has this box's name any more")
		r.conflict = time.Time{}
	default:
		return
	}
	r.notify()
}

// notify wakes those who wait. The caller holds mu.
func (r *Rivals) notify() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// connected starts again with the rivals that there are: none could be received
// during an outage.
func (r *Rivals) connected(address string, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.self.Address = plain(address)
	for _, o := range r.rivals {
		o.last = now
	}
	r.leaving = false
}

// disconnected: a rival that comes now is not received.
func (r *Rivals) disconnected() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.decided = time.Time{}
	r.notify()
}

// announced is called when an announcement has reached so many subscribers. If
// they are only ourselves there is nobody whose reply could be waited for.
func (r *Rivals) announced(receivers int64, refusal error, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if refusal != nil && !r.refused {
		r.log().Warn().Err(refusal).Str("channel", Channel(r.box)).Str("advice", redisconn.CauseOf(refusal).Advice()).
			Msg("Redis refuses announcements: a name conflict with another controller cannot be detected")
	}
	r.refused = refusal != nil
	if !r.decided.IsZero() {
		return
	}
	if r.decided = now; receivers > 1 || len(r.rivals) > 0 {
		r.decided = now.Add(replyTime)
	}
	r.notify()
}

// awaitNone waits until it is decided whether others have the name, and returns a
// *ConflictError if so.
func (r *Rivals) awaitNone(ctx context.Context) error {
	for {
		r.mu.Lock()
		alive, decided, changed := r.alive(), r.decided, r.changed
		r.mu.Unlock()
		left := time.Duration(1<<63 - 1) // without a link nothing is received
		if !decided.IsZero() {
			left = time.Until(decided)
		}
		switch {
		case len(alive) > 0:
			return &ConflictError{Box: r.box, Others: alive}
		case left <= 0:
			return nil
		}
		timer := time.NewTimer(left)
		select {
		case <-timer.C:
		case <-changed:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("nothing was done: without a link it is not known whether another controller is called %s: %w", r.box, ctx.Err())
		}
		timer.Stop()
	}
}

// ConflictError refuses a command that may be meant for another controller.
type ConflictError struct {
	Box    string
	Others []Identity
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("nothing was done: the name %s is also that of controller %s; give each box a [controller] box of its own, or choose one by its instance",
		e.Box, strings.Join(shown(e.Others), " and "))
}

func shown(all []Identity) []string {
	var texts []string
	for _, i := range all {
		texts = append(texts, i.Shown())
	}
	return texts
}
