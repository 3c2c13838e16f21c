package outbox

import (
	"fmt"
	"time"

	"framekeeper/pkg/frame"
)

// capture is the camera: a frame now and then.
func (l *simLife) capture() (wait, rest time.Duration) {
	w := l.world
	if w.interval == 0 || l.ending {
		return time.Second, 0
	}
	x := l.add(Options{}, "")
	if w.setup.mode == ModeBoth {
		l.publisher.Frame(x.item)
	}
	return w.interval, 0
}

// add has the log take an exposure.
func (l *simLife) add(opt Options, request string) *exposure {
	w := l.world
	w.size = min(w.size+w.growth, w.setup.retain/8)
	x := &exposure{n: uint64(len(w.ledger.all)), life: l.number, at: w.now, size: w.size, answer: opt.Answer, logged: !opt.Unlogged}
	item, err := l.log.Add(opt, func(id frame.ID) (*frame.Message, error) {
		x.id = id
		h := frame.Header{Camera: "cam", ID: id, Status: frame.StatusOK, Encoding: "jpeg", SensorSeq: x.n, CapturedUS: w.instant().UnixMicro()}
		if request != "" {
			h.Request = fmt.Appendf(nil, `{"id":%q}`, request)
		}
		m, err := frame.NewMessage(h, simImage(x.n, int(x.size)))
		w.largest = max(w.largest, int64(m.Size()))
		return m, err
	})
	if err != nil {
		w.ledger.fail("a frame cannot be added: %v", err)
	}
	x.item = item
	w.ledger.captured(x)
	return x
}

// request answers a request with a frame, or an error reply where there is no room.
func (l *simLife) request(r *simRequest) {
	w := l.world
	if l.ending {
		return
	}
	l.requests = append(l.requests, r)
	if !l.room() {
		if l.refusing == 0 {
			l.refusing = w.now
		}
		if since := max(l.publishable(), l.refusing); w.now-since > simPatience {
			w.ledger.fail("every request is refused for want of room since %s, although answers can be published: %s", since, l.describe())
		}
		m, err := frame.NewMessage(frame.Header{Camera: "cam", Status: frame.StatusError, Error: "full", Request: fmt.Appendf(nil, `{"id":%q}`, r.id)}, nil)
		if err != nil {
			panic(err)
		}
		r.item = NewItem(m)
	} else {
		l.refusing = 0
		r.x = l.add(Options{Answer: true, Unlogged: !w.setup.mode.Streams()}, r.id)
		r.item = r.x.item
	}
	l.publisher.Answer(r.item)
}

// room reports whether there is room for an answer.
func (l *simLife) room() bool {
	need := l.world.size + 1000
	bytes, empty := l.log.Room(need)
	if l.world.setup.mode.Streams() && !empty && bytes < need {
		return false
	}
	bytes, empty = l.publisher.Room()
	return empty || bytes >= need
}

// repeat asks for a remembered answer again.
func (l *simLife) repeat(r *simRequest) { l.publisher.Answer(r.item) }
