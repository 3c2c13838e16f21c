package rpc

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/testkit"
)

// request is "id" or "id text"; "-" is no id.
type request struct{ id, text string }

// reply is an answer of a size.
type reply struct {
	text string
	size int64
}

func (r *reply) Size() int64 { return r.size }

// desk is a Server with what it publishes written down.
type desk struct {
	*Server[request, *reply]
	log       testkit.Log
	published []*reply
	now       time.Time
}

func newDesk(change ...func(*ServerConfig[request, *reply])) *desk {
	d := &desk{now: time.Now()}
	log := zerolog.New(&d.log)
	cfg := ServerConfig[request, *reply]{
		What: "request", Rate: 1e6, Log: func() *zerolog.Logger { return &log },
		Parse: func(payload []byte, blank request) (request, error) {
			id, text, _ := bytes.Cut(payload, []byte(" "))
			r := request{string(id), blank.text + string(text)}
			switch {
			case r.text == "elsewhere":
				return r, ErrElsewhere
			case r.text == "bad":
				return r, errors.New("malformed")
			case r.id == "-":
				r.id = ""
			}
			return r, nil
		},
		ID:      func(r request) string { return r.id },
		Refuse:  func(_ request, _ time.Time, reason error) (*reply, error) { return &reply{text: reason.Error()}, nil },
		Publish: func(r *reply) { d.published = append(d.published, r) },
	}
	for _, f := range change {
		f(&cfg)
	}
	d.Server = NewServer(cfg)
	return d
}

func exact(c *ServerConfig[request, *reply]) { c.Exact = true }

func limited(perSecond float64) func(*ServerConfig[request, *reply]) {
	return func(c *ServerConfig[request, *reply]) { c.Rate = perSecond }
}

// ask lets messages arrive, each a little later than the one before.
func (d *desk) ask(texts ...string) {
	for _, text := range texts {
		d.now = d.now.Add(time.Microsecond)
		d.Handle([]byte(text), d.now, request{})
	}
}

// answer answers a request that is asked only for that.
func (d *desk) answer(text string, size int64) *reply {
	d.ask(text)
	r := &reply{text: text, size: size}
	for _, p := range d.Take(all) {
		d.Answer(p, r)
	}
	return r
}

// texts are what was published since it was last called.
func (d *desk) texts() string {
	var all []string
	for _, r := range d.published {
		all = append(all, r.text)
	}
	d.published = nil
	return strings.Join(all, ", ")
}

func (d *desk) want(t *testing.T, after, want string) {
	t.Helper()
	if got := d.texts(); got != want {
		t.Errorf("%s: published %q, want %q", after, got, want)
	}
}

func all(Pending[request]) bool { return true }

func TestMalformedRequests(t *testing.T) {
	t.Parallel()
	d := newDesk()
	d.ask("a bad")
	d.want(t, "a malformed request", "malformed")
	if s := d.Stats(); s.Malformed != 1 || s.Errors != 1 || s.Pending != 0 || s.Received != 1 {
		t.Errorf("%+v, want one error and nothing pending", s)
	}
	d.ask("a bad", "a")
	d.want(t, "its repeats", "malformed, malformed")
	if s := d.Stats(); s.Repeated != 2 || s.Errors != 1 {
		t.Errorf("%+v, want two repeats", s)
	}
	d.ask("b elsewhere")
	d.want(t, "a request for another server", "")
}

func TestBeyondTheRateOneReplyASecond(t *testing.T) {
	t.Parallel()
	d := newDesk(limited(10))
	for range 100 {
		d.ask("-")
	}
	if s := d.Stats(); s.Pending != 10 || s.Refused != 90 || s.Errors != 1 || len(d.published) != 1 {
		t.Errorf("%+v and %d replies, want 10 pending, 90 refused, 1 reply", s, len(d.published))
	}
	for range 4 { // half a second each: five more are let in, one reply a second
		d.now = d.now.Add(500 * time.Millisecond)
		for range 20 {
			d.ask("-")
		}
	}
	if s := d.Stats(); s.Pending != 30 || s.Refused != 150 || len(d.published) != 3 {
		t.Errorf("%+v and %d replies, want 30 pending, 150 refused, 3 replies", s, len(d.published))
	}
	if last := d.published[2].text; !strings.Contains(last, "10 requests a second") || !strings.Contains(d.log.String(), "Too many requests") {
		t.Errorf("the reason is %q, the log is\n%s", last, d.log.String())
	}
	d.now = d.now.Add(time.Hour) // no more than one second's worth is saved up
	for range 100 {
		d.ask("-")
	}
	if s := d.Stats(); s.Pending != 40 {
		t.Errorf("%d pending after an hour's rest and 100 requests, want 40", s.Pending)
	}
	slow := newDesk(limited(0.1))
	if slow.ask("-", "-"); slow.Stats().Pending != 1 {
		t.Errorf("%d pending at a rate below one, want 1", slow.Stats().Pending)
	}
}

func TestARepeatGetsTheSameAnswer(t *testing.T) {
	t.Parallel()
	d := newDesk()
	d.ask("a one", "a one") // still waiting: one answer will do
	taken := d.Take(all)
	if len(taken) != 1 || taken[0].Request.id != "a" {
		t.Fatalf("taken %+v, want the request once", taken)
	}
	d.ask("a one", "a bad") // being served
	d.want(t, "repeats of a request that waits", "")
	first := &reply{text: "first"}
	d.Answer(taken[0], first)
	d.ask("a one", "a", "a bad") // the first one was not refused
	if n := len(d.published); n != 4 || d.published[3] != first {
		t.Errorf("published %d answers, want the same four times", n)
	}
	if s := d.Stats(); s.Repeated != 6 || s.Answered != 1 || s.Pending != 0 {
		t.Errorf("%+v, want 6 repeats of 1 answer", s)
	}
	d.ask("-", "-") // without an id each is its own
	if more := d.Take(all); len(more) != 2 {
		t.Errorf("%d requests without id were taken, want 2", len(more))
	}
}

func TestExact(t *testing.T) {
	t.Parallel()
	d := newDesk(exact)
	d.ask("a bad")
	d.want(t, "a malformed request", "malformed")
	d.answer("a one", 1)
	d.want(t, "a mended one, under the same id", "a one")
	d.ask("a one", "a two", "a bad", "a one")
	const other = "another request has had this id: give each its own"
	d.want(t, "a repeat, others under the id, and a repeat", "a one, "+other+", malformed, a one")
	d.ask("b one", "b two")
	d.want(t, "another one under the id of one that waits", other)
	if len(d.Take(all)) != 1 {
		t.Error("the one that waits is lost")
	}
}

func TestAnErrorReplyIsRememberedToo(t *testing.T) {
	t.Parallel()
	for name, d := range map[string]*desk{"by id": newDesk(), "exact": newDesk(exact)} {
		d.ask("a")
		d.Fail(d.Take(all)[0], errors.New("camera stalled"))
		d.ask("a")
		d.want(t, name, "camera stalled, camera stalled")
		if s := d.Stats(); s.Answered != 0 || s.Errors != 1 || s.Repeated != 1 || s.Pending != 0 {
			t.Errorf("%s: %+v, want the error again and nothing pending", name, s)
		}
	}
}

func TestRememberedAnswersAreBounded(t *testing.T) {
	t.Parallel()
	d := newDesk(func(c *ServerConfig[request, *reply]) { c.Memory = 1 << 20 })
	d.ask("waits")
	kept := d.Take(all)
	d.answer("first", 10)
	for i := range 2 * MaxAnswers { // by count
		d.answer(fmt.Sprint("small", i), 10)
	}
	m := &d.answers
	if m.order.Len() != MaxAnswers || len(m.records) != MaxAnswers+1 || m.size != 10*MaxAnswers {
		t.Errorf("%d answers of %d bytes are remembered, want %d, and the request that waits", m.order.Len(), m.size, MaxAnswers)
	}
	for i := range 40 { // by bytes
		d.answer(fmt.Sprint("big", i), 100<<10)
	}
	if m.order.Len() != 10 || m.size != 1000<<10 {
		t.Errorf("%d answers of %d bytes are remembered, want 10", m.order.Len(), m.size)
	}
	d.texts()
	d.ask("big39", "small0")
	d.want(t, "the newest and a forgotten one", "big39")
	d.Take(all)
	huge := d.answer("huge", 2<<20)
	if d.ask("huge"); m.order.Len() != 1 || m.size != huge.size || len(d.published) != 2 {
		t.Errorf("one answer larger than the bound: %d remembered; want it alone", m.order.Len())
	}
	d.Answer(kept[0], &reply{text: "late"})
	d.texts()
	d.ask("waits")
	d.want(t, "a request that waited for long", "late")
}

func TestOpenRequestsAreBounded(t *testing.T) {
	t.Parallel()
	d := newDesk(func(c *ServerConfig[request, *reply]) { c.MaxOpen = 100 })
	for i := range 150 {
		d.ask(fmt.Sprint(i))
	}
	if s := d.Stats(); s.Pending != 100 || s.Busy != 50 || len(d.published) != 50 {
		t.Errorf("%d pending, %d refused, want 100 and 50", s.Pending, s.Busy)
	}
	d.want(t, "the last", strings.Repeat("too many requests are waiting, try again later, ", 49)+"too many requests are waiting, try again later")
	odd := 0
	taken := d.Take(func(Pending[request]) bool { odd++; return odd%2 == 0 })
	if len(taken) != 50 || taken[0].Request.id != "1" || taken[1].Request.id != "3" {
		t.Errorf("%d taken, want every second one in order", len(taken))
	}
	if d.ask("x"); d.Stats().Busy != 51 {
		t.Error("those that are being served do not count")
	}
	d.Answer(taken[0], &reply{})
	d.Fail(taken[1], errors.New("no"))
	d.ask("y", "z", "!")
	if rest := d.Take(all); len(rest) != 52 || rest[0].Request.id != "0" || rest[51].Request.id != "z" {
		t.Errorf("%d left, want the others in order and two more", len(rest))
	}
}

// What an earlier start has answered is answered again, once for each repeat.
func TestRemember(t *testing.T) {
	t.Parallel()
	d := newDesk()
	d.ask("early", "other")
	d.Remember("early", &reply{text: "early"})
	d.Remember("late", &reply{text: "late"})
	d.Remember("late", &reply{text: "another start's"})
	d.ask("late", "early")
	d.want(t, "repeats", "early, late, early")
	if rest := d.Take(all); len(rest) != 1 || rest[0].Request.id != "other" || d.open != 1 {
		t.Errorf("%+v pending, want the request that nobody answered", rest)
	}
}

func TestARefusalThatCannotBeBuiltIsLogged(t *testing.T) {
	t.Parallel()
	d := newDesk(func(c *ServerConfig[request, *reply]) {
		c.Refuse = func(_ request, _ time.Time, reason error) (*reply, error) { return nil, reason }
	})
	d.ask("a bad")
	d.want(t, "it", "")
	if !strings.Contains(d.log.String(), "An error reply could not be built") {
		t.Errorf("the log is %q", d.log.String())
	}
}
