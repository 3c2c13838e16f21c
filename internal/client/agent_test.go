package client

import (
	"bytes"
	"context"
	"encoding/json"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/frame"
)

// agent is the least that answers like a cam-agent: each request gets an image
// that names its ID, published and, when streams is set, added under that ID.
type agent struct {
	t       *testing.T
	camera  string
	streams bool
	publish bool
	client  *redis.Client

	mu     sync.Mutex // guards everything below
	next   frame.ID
	angles []float64
	asked  []map[string]any
	known  map[string]*frame.Message // answers by request id
	refuse string                    // the reason for refusing, "" to serve
	silent bool
}

func startAgent(t *testing.T, s *redistest.Server, camera, mode string) *agent {
	t.Helper()
	a := &agent{
		t: t, camera: camera, streams: mode != "pubsub", publish: mode != "stream",
		client: redis.NewClient(s.ClientOptions()),
		next:   frame.ID{Epoch: 1000, Seq: 1}, known: map[string]*frame.Message{},
	}
	sub := a.client.Subscribe(context.Background(), "request/"+camera)
	if _, err := sub.Receive(context.Background()); err != nil {
		t.Fatalf("subscribe: %v", err)
	}
	var serving sync.WaitGroup
	requests := sub.Channel() // good enough for an agent that lives seconds
	serving.Go(func() {
		for m := range requests {
			a.serve([]byte(m.Payload))
		}
	})
	a.announce()
	t.Cleanup(func() {
		_ = sub.Close()
		serving.Wait()
		_ = a.client.Close()
	})
	return a
}

func (a *agent) announce() {
	status := `{"camera":"` + a.camera + `","link":{"state":"LIVE"},"outbox":{"newest":"1000-1","oldest":""},"capture":{"state":"ok","fps":26.5612},"writable":true,"reason":""}`
	if err := a.client.Set(context.Background(), "status:"+a.camera, status, 15*time.Second).Err(); err != nil {
		a.t.Errorf("announce: %v", err)
	}
}

// with changes how the agent behaves.
func (a *agent) with(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f()
}

func (a *agent) serve(payload []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r, err := frame.ParseRequest(payload)
	if err != nil {
		a.t.Errorf("agent got a malformed request: %v: %s", err, payload)
		return
	}
	if a.silent {
		return
	}
	if again := a.known[r.ID]; again != nil {
		a.send("PUBLISH", "stream/"+a.camera, again.Wire())
		return
	}
	var object map[string]any
	_ = json.Unmarshal(r.Object, &object) // ParseRequest has read it
	a.asked = append(a.asked, object)
	if angle, ok := object["angle"].(float64); ok {
		a.angles = append(a.angles, angle)
	}
	if a.refuse != "" {
		m := a.message(frame.Header{Status: frame.StatusError, Error: a.refuse, Request: r.Object}, nil)
		a.send("PUBLISH", "stream/"+a.camera, m.Wire())
		return
	}
	m := a.image(r.Object)
	a.known[r.ID] = m
	a.send("PUBLISH", "stream/"+a.camera, m.Wire())
	if a.streams {
		a.add(m)
	}
}

// produce sends a frame nobody asked for.
func (a *agent) produce() frame.ID {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.give(a.image(nil))
}

// produceOdd sends one that has something about it.
func (a *agent) produceOdd(change func(h *frame.Header), image []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	h := a.image(nil).Header
	h.CRC32C = ""
	if change != nil {
		change(&h)
	}
	m, err := frame.NewMessage(h, image)
	if err != nil {
		a.t.Error(err)
		return
	}
	a.give(m)
}

// give sends a frame. The caller holds mu.
func (a *agent) give(m *frame.Message) frame.ID {
	if a.publish {
		a.send("PUBLISH", "stream/"+a.camera, m.Wire())
	}
	if a.streams {
		a.add(m)
	}
	return m.Header.ID
}

func (a *agent) image(request json.RawMessage) *frame.Message {
	id := a.next
	a.next = a.next.Next()
	return a.message(frame.Header{
		ID: id, Status: frame.StatusOK, Encoding: frame.JPEG, Width: 64, Height: 48, CapturedUS: time.Now().UnixMicro(), Request: request,
	}, imageOf(id))
}

// imageOf is the image of a frame, in which a mix-up shows.
func imageOf(id frame.ID) []byte {
	return append(bytes.Repeat([]byte{0xff, 0xd8, '\n', 0}, 500), id.String()...)
}

func (a *agent) message(h frame.Header, image []byte) *frame.Message {
	h.Camera = a.camera
	m, err := frame.NewMessage(h, image)
	if err != nil {
		a.t.Errorf("NewMessage: %v", err)
	}
	return m
}

func (a *agent) add(m *frame.Message) {
	a.send("XADD", "frames:"+a.camera, m.Header.ID.String(), "header", m.HeaderJSON(), "image", m.Image())
}

// send may fail while a test has Redis down.
func (a *agent) send(args ...any) { _ = a.client.Do(context.Background(), args...).Err() }
