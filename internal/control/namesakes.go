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
)

const (
	helloEvery = 2 * time.Second        // says a controller that it is there
	helloGap   = 200 * time.Millisecond // is the least time between two hellos
	// settleTime is how long others may take to answer a hello, before a command
	// counts as meant for this controller alone.
	settleTime = 3 * time.Second
	// forgetAfter is how long a namesake is remembered that says no more. Only
	// time with a link counts.
	forgetAfter  = 5 * helloEvery
	maxNamesakes = 100
	helloRate    = 200.0 // a second are listened to
)

// Namesakes are the other controllers of this box's name on this Redis, as when
// two boxes were made from one SD card. While there are any, no command says
// which of them it means, so that none obeys one that does not name its
// instance.
//
// A namesake counts as alive only if it shows that it has heard this process, or
// goes on saying hello: what a killed predecessor had still on its way does
// neither. Everything may be called from any goroutine; one session at a time.
type Namesakes struct {
	box  string
	log  func() *zerolog.Logger
	kick chan struct{} // capacity 1: somebody has not heard us yet

	mu      sync.Mutex // guards all below
	self    Identity
	others  map[string]*namesake // by instance
	bucket  bucket
	shared  time.Time     // since when some of them live; zero: none does
	settles time.Time     // when all have had their time to answer; zero: none was asked in this session
	changed chan struct{} // closed and replaced when one of these two changes
	left    bool          // nothing more is said in this session
	mute    bool          // Redis refuses hellos, and that has been logged
}

type namesake struct {
	Identity
	first, last time.Time // heard
	alive       bool      // and not only a message that came late
}

// NewNamesakes knows none yet.
func NewNamesakes(box string, self Identity, log func() *zerolog.Logger) *Namesakes {
	return &Namesakes{
		box: box, log: log, kick: make(chan struct{}, 1), self: self, others: map[string]*namesake{},
		bucket: newBucket(helloRate, time.Now()), changed: make(chan struct{}),
	}
}

// Box is the name.
func (n *Namesakes) Box() string { return n.box }

// Self is this controller.
func (n *Namesakes) Self() Identity {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.self
}

// Others are those that live, in the order of their instances.
func (n *Namesakes) Others() []Identity {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.living()
}

// living is for callers that hold mu.
func (n *Namesakes) living() []Identity {
	var all []Identity
	for _, o := range n.others {
		if o.alive {
			all = append(all, o.Identity)
		}
	}
	slices.SortFunc(all, func(a, b Identity) int { return cmp.Compare(a.Instance, b.Instance) })
	return all
}

// hear takes a hello, our own ones too.
func (n *Namesakes) hear(payload []byte, now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.bucket.take(now) {
		return
	}
	h, ok := parseHello(payload)
	if !ok || h.Instance == n.self.Instance {
		return
	}
	o := n.others[h.Instance]
	hearsUs := slices.Contains(h.Hears, n.self.Instance)
	answer := o == nil || !hearsUs // else it knows already that we know
	switch {
	case h.Ends:
		delete(n.others, h.Instance)
		n.judge(now)
		return
	case o == nil && len(n.others) >= maxNamesakes:
		return // that many are as bad as more
	case o == nil:
		o = &namesake{first: now}
		n.others[h.Instance] = o
		if !n.settles.IsZero() {
			n.settles = now.Add(settleTime)
		}
	}
	if answer {
		select {
		case n.kick <- struct{}{}:
		default:
		}
	}
	o.Identity, o.last = h.Identity, now
	o.alive = o.alive || hearsUs || now.Sub(o.first) > helloEvery/2
	n.judge(now)
}

// forget drops those that say no more. The caller holds mu.
func (n *Namesakes) forget(now time.Time) {
	for instance, o := range n.others {
		if now.Sub(o.last) > forgetAfter {
			delete(n.others, instance)
		}
	}
	n.judge(now)
}

// judge tells, once, that the name is shared, and that it is not any more. The
// caller holds mu.
func (n *Namesakes) judge(now time.Time) {
	living := n.living()
	switch {
	case len(living) > 0 && n.shared.IsZero():
		n.shared = now
		n.log().Error().Str("box", n.box).Str("instance", n.self.Instance).Strs("others", shownAll(living)).
			Str("advice", "give each box a [controller] box of its own and reload; until then commands need --instance").
			Msg("another controller has this box's name")
	case len(living) == 0 && !n.shared.IsZero():
		n.log().Info().Str("box", n.box).Stringer("lasted", now.Sub(n.shared).Round(time.Second)).
			Msg("this box has its name to itself again")
		n.shared = time.Time{}
	default:
		return
	}
	n.change()
}

// change wakes those who wait. The caller holds mu.
func (n *Namesakes) change() {
	close(n.changed)
	n.changed = make(chan struct{})
}

// alone waits until it is known whether others have the name, and refuses if so.
func (n *Namesakes) alone(ctx context.Context) error {
	for {
		n.mu.Lock()
		living, settles, changed := n.living(), n.settles, n.changed
		n.mu.Unlock()
		if len(living) > 0 {
			return &SharedError{Box: n.box, Others: living}
		}
		left := time.Duration(1<<63 - 1) // without a link nobody can be heard
		if !settles.IsZero() {
			if left = time.Until(settles); left <= 0 {
				return nil
			}
		}
		timer := time.NewTimer(left)
		select {
		case <-timer.C:
		case <-changed:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("nothing was done: without a link it is not known whether another controller is called %s: %w", n.box, ctx.Err())
		}
		timer.Stop()
	}
}

// SharedError refuses a command that may be meant for another controller.
type SharedError struct {
	Box    string
	Others []Identity
}

func (e *SharedError) Error() string {
	return fmt.Sprintf("nothing was done: the name %s is also that of controller %s; give each box a [controller] box of its own, or choose one by its instance",
		e.Box, strings.Join(shownAll(e.Others), " and "))
}

func shownAll(all []Identity) []string {
	var texts []string
	for _, i := range all {
		texts = append(texts, i.Shown())
	}
	return texts
}
