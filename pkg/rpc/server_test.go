package rpc

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/testkit"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/outbox"
)

// desk is a Server with what it sends out written down.
type desk struct {
	*Server
	log     *testkit.Log
	refused []string
	again   []*outbox.Item
	now     time.Time
}

func newDesk(rate float64) *desk {
	d := &desk{log: &testkit.Log{}}
	d.Server = NewServer(ServerConfig{
		Rate: rate, Timeout: time.Second, Parse: frame.ParseRequest, Log: zerolog.New(d.log),
		Refuse: func(r frame.Request, arrived time.Time, reason string) {
			d.refused = append(d.refused, reason)
		},
		Repeat: func(i *outbox.Item) { d.again = append(d.again, i) },
	})
	d.now = time.Now()
	return d
}

// ask lets a message arrive a little later than the one before.
func (d *desk) ask(text string) {
	d.now = d.now.Add(time.Microsecond)
	d.Handle([]byte(text), d.now)
}

func all(Pending) bool { return true }

func TestAMalformedRequestIsRefusedOnce(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"not JSON":        "angle=25",
		"no object":       "[25]",
		"wrong type":      `{"timeout_ms":"soon"}`,
		"too deep":        strings.Repeat("[", 33) + strings.Repeat("]", 33),
		"too large":       `{"x":"` + strings.Repeat("x", frame.MaxRequestBytes) + `"}`,
		"nothing at all":  "",
		"an id of 5":      `{"id":5}`,
		"endless timeout": `{"timeout_ms":1e12}`,
	} {
		d := newDesk(100)
		d.ask(text)
		if s := d.Stats(); len(d.refused) != 1 || s.Malformed != 1 || s.Errors != 1 || s.Pending != 0 || s.Received != 1 {
			t.Errorf("%s: refused with %q, stats %+v, want once and nothing pending", name, d.refused, s)
		} else if !strings.Contains(d.refused[0], frame.ErrRequest.Error()) {
			t.Errorf("%s: the reason is %q", name, d.refused[0])
		}
	}
}

func TestBeyondTheRateOneReplyASecond(t *testing.T) {
	t.Parallel()
	d := newDesk(10)
	for range 100 {
		d.ask(`{"angle":25}`)
	}
	if s := d.Stats(); s.Pending != 10 || s.Refused != 90 || s.Errors != 1 || len(d.refused) != 1 {
		t.Errorf("%+v and %d replies, want 10 pending, 90 refused, 1 told", s, len(d.refused))
	}
	for range 4 { // half a second each: five more are let in, one reply a second
		d.now = d.now.Add(500 * time.Millisecond)
		for range 20 {
			d.ask(`{"angle":25}`)
		}
	}
	if s := d.Stats(); s.Pending != 30 || s.Refused != 150 || len(d.refused) != 3 {
		t.Errorf("%+v and %d replies, want 30 pending, 150 refused, 3 told", s, len(d.refused))
	}
	if last := d.refused[2]; !strings.Contains(last, "10 requests a second") {
		t.Errorf("the reason is %q", last)
	}
	d.now = d.now.Add(time.Hour) // no more than one second's worth is saved up
	for range 100 {
		d.ask(`{"angle":25}`)
	}
	if s := d.Stats(); s.Pending != 40 {
		t.Errorf("%d pending after an hour's rest and 100 requests, want 40", s.Pending)
	}
}

func TestARepeatGetsTheSameBytes(t *testing.T) {
	t.Parallel()
	d := newDesk(100)
	d.ask(`{"id":"a","angle":25}`)
	d.ask(`{"id":"a","angle":25}`) // still waiting: one answer will do
	taken := d.Take(all)
	if len(taken) != 1 || taken[0].Request.ID != "a" {
		t.Fatalf("taken %+v, want the request once", taken)
	}
	d.ask(`{"id":"a","angle":25}`) // being served
	item := sized(t, 1, 100)
	d.Answered(taken[0].Request, item, true)
	d.ask(`{"id":"a","angle":25}`)
	d.ask(`{"id":"a"}`)
	if len(d.again) != 2 || d.again[0] != item || d.again[1] != item {
		t.Errorf("repeats gave %v, want the same item twice", d.again)
	}
	if more := d.Take(all); len(more) != 0 {
		t.Errorf("repeats were enlisted: %+v", more)
	}
	if s := d.Stats(); s.Repeated != 4 || s.Answered != 1 {
		t.Errorf("%+v, want 4 repeats of 1 answer", s)
	}
	d.ask(`{"angle":25}`)
	d.ask(`{"angle":25}`) // without an id each is its own
	if more := d.Take(all); len(more) != 2 {
		t.Errorf("%d requests without id were taken, want 2", len(more))
	}
}

func TestTheAnsweredTableIsBounded(t *testing.T) {
	t.Parallel()
	d := newDesk(1e6)
	for i := range 3000 { // by count
		d.Answered(frame.Request{ID: fmt.Sprint("small", i)}, sized(t, 1, 10), true)
	}
	if len(d.answered) != maxAnswered || d.order.Len() != maxAnswered {
		t.Errorf("%d answers are kept, want %d", len(d.answered), maxAnswered)
	}
	for i := range 40 { // by bytes
		d.Answered(frame.Request{ID: fmt.Sprint("big", i)}, sized(t, 1, 1<<20), true)
		d.Answered(frame.Request{ID: "same"}, sized(t, 1, 1<<20), true)
	}
	size := int64(0)
	for e := d.order.Front(); e != nil; e = e.Next() {
		size += e.Value.(*answer).item.Size()
	}
	if d.size != size || size > maxAnsweredSize || len(d.answered) != d.order.Len() || len(d.waiting) != 0 {
		t.Errorf("%d bytes counted, %d kept in %d and %d places, %d waiting", d.size, size, d.order.Len(), len(d.answered), len(d.waiting))
	}
	d.ask(`{"id":"big39"}`)
	d.ask(`{"id":"small0"}`)
	if len(d.again) != 1 {
		t.Errorf("%d repeats answered, want the newest, and not the forgotten one", len(d.again))
	}
	d.Answered(frame.Request{ID: "huge"}, sized(t, 1, maxAnsweredSize+1), true)
	if d.ask(`{"id":"huge"}`); len(d.again) != 2 || d.order.Len() != 1 {
		t.Errorf("one answer larger than the bound: %d repeats, %d kept; want it alone", len(d.again), d.order.Len())
	}
}

func TestPendingRequestsAreBounded(t *testing.T) {
	t.Parallel()
	d := newDesk(1e6)
	for i := range maxPending + 50 {
		d.ask(fmt.Sprintf(`{"id":"%d"}`, i))
	}
	if s := d.Stats(); s.Pending != maxPending || len(d.refused) != 50 {
		t.Errorf("%d pending, %d refused, want %d and 50", s.Pending, len(d.refused), maxPending)
	}
	if len(d.refused) > 0 && d.refused[0] != errBusy.Error() {
		t.Errorf("refused with %q, want %q", d.refused[0], errBusy)
	}
	half := 0
	taken := d.Take(func(Pending) bool { half++; return half%2 == 0 })
	if len(taken) != maxPending/2 || taken[0].Request.ID != "1" || taken[1].Request.ID != "3" {
		t.Errorf("%d taken, want every second one in order", len(taken))
	}
	if rest := d.Take(all); len(rest) != maxPending/2 || rest[0].Request.ID != "0" {
		t.Errorf("%d left, want the others in order", len(rest))
	}
}

func TestDeadlines(t *testing.T) {
	t.Parallel()
	d := newDesk(100)
	if !d.NextDeadline().IsZero() {
		t.Error("there is a deadline without a request")
	}
	d.ask(`{}`)
	d.ask(`{"timeout_ms":200}`)
	d.ask(`{"timeout_ms":5000}`)
	if got := d.NextDeadline().Sub(d.now); got < 190*time.Millisecond || got > 200*time.Millisecond {
		t.Errorf("the next deadline is in %s, want 200ms", got)
	}
	var waits []time.Duration
	for _, p := range d.Take(all) {
		waits = append(waits, p.Deadline.Sub(p.Arrived))
	}
	if fmt.Sprint(waits) != "[1s 200ms 5s]" {
		t.Errorf("requests may wait %v, want the camera's 1s, then what they asked for", waits)
	}
}

func TestAnErrorReplyIsRememberedToo(t *testing.T) {
	t.Parallel()
	d := newDesk(100)
	d.ask(`{"id":"a"}`)
	p := d.Take(all)[0]
	d.Refuse(p.Request, p.Arrived, errors.New("camera stalled"))
	d.Answered(p.Request, sized(t, 0, 0), false)
	d.ask(`{"id":"a"}`)
	if s := d.Stats(); len(d.again) != 1 || s.Answered != 0 || s.Errors != 1 || s.Repeated != 1 {
		t.Errorf("%d repeats, %+v, want the error again and no second capture", len(d.again), s)
	}
}

// A request that waits for its frame is answered with that, whatever comes under
// its id meanwhile: an agent that is stopping refuses what is new, and repeats
// are not.
func TestARefusedRepeatLeavesTheFirstItsAnswer(t *testing.T) {
	t.Parallel()
	d := newDesk(100)
	d.ask(`{"id":"a"}`)
	d.ask(`{"id":"a","timeout_ms":"soon"}`)
	if len(d.refused) != 0 || d.Stats().Pending != 1 {
		t.Fatalf("refused %q with %d pending, want the first one waiting", d.refused, d.Stats().Pending)
	}
	item := sized(t, 1, 10)
	d.Answered(d.Take(all)[0].Request, item, true)
	d.ask(`{"id":"a","timeout_ms":"soon"}`)
	if len(d.refused) != 0 || len(d.again) != 1 || d.again[0] != item {
		t.Errorf("refused %q, repeated %d answers, want the first answer", d.refused, len(d.again))
	}
}
