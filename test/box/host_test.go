package box

import (
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/telemetry"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/redisconn"
	"framekeeper/pkg/rpc"
	"framekeeper/pkg/stream"
)

// host is what stands beside a box: it asks for frames, reads the streams, and
// hears what box and agents say of themselves.
type host struct {
	*testing.T
	cameras    []string
	link       *datatransfer.Link
	requesters map[string]*rpc.Client
	readers    map[string]*stream.Consumer

	mu       sync.Mutex // guards all below
	last     map[string]*frame.Header
	statuses map[string]agentSays
	sample   telemetry.Sample
	samples  int // heard
}

// agentSays is a part of an agent's status.
type agentSays struct {
	Link struct {
		Sessions uint64 `json:"sessions"`
		Losses   uint64 `json:"losses"`
	} `json:"link"`
}

// startHost uses the box's Redis at its default address, patiently.
func startHost(t *testing.T, cameras ...string) *host {
	t.Helper()
	h := &host{
		T: t, cameras: cameras, requesters: map[string]*rpc.Client{}, readers: map[string]*stream.Consumer{},
		last: map[string]*frame.Header{}, statuses: map[string]agentSays{},
	}
	way := redisconn.Default()
	way.CheckTimeout, way.IOTimeout = patience/12, patience/6
	cfg := datatransfer.LinkConfig{Redis: way, Name: "host", Log: zerolog.Nop()}
	cfg.Subscriptions = append(cfg.Subscriptions, datatransfer.Subscription{Channel: "box1_log", Handle: hear(h, func(s telemetry.Sample) { h.sample, h.samples = s, h.samples+1 })})
	for _, c := range cameras {
		h.requesters[c] = rpc.NewClient(rpc.ClientConfig{Camera: c, RequestTopic: "request/" + c, Timeout: patience})
		h.readers[c] = stream.NewConsumer(stream.ConsumerConfig{Key: "frames:" + c, FromStart: true, Handle: h.read, Log: zerolog.Nop()})
		cfg.Workers = append(cfg.Workers, h.requesters[c].Worker(), h.readers[c].Worker())
		cfg.Subscriptions = append(cfg.Subscriptions,
			datatransfer.Subscription{Channel: "stream/" + c, Handle: h.answer},
			datatransfer.Subscription{Channel: "status/" + c, Handle: hear(h, func(s agentSays) { h.statuses[c] = s })})
	}
	h.link = datatransfer.NewLink(cfg)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = h.link.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	if err := h.link.WaitLive(ctx); err != nil {
		t.Fatal(err)
	}
	return h
}

// hear is a handler for messages of one kind.
func hear[T any](h *host, take func(T)) func([]byte, time.Time) {
	return func(payload []byte, _ time.Time) {
		var v T
		if json.Unmarshal(payload, &v) != nil {
			return // what does not come is missed
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		take(v)
	}
}

func (h *host) answer(payload []byte, _ time.Time) {
	if m, err := frame.ParseMessage(payload); err == nil {
		h.requesters[m.Header.Camera].Deliver(m)
	}
}

func (h *host) read(_ context.Context, m *frame.Message) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if m.Header.Status == frame.StatusOK {
		h.last[m.Header.Camera] = &m.Header
	}
	return nil
}

// ask is one request; nil if there is no frame.
func (h *host) ask(camera string) *frame.Header {
	h.Helper()
	m, err := h.requesters[camera].Request(h.Context(), nil)
	if err != nil {
		h.Errorf("request to %s: %v", camera, err)
		return nil
	}
	return &m.Header
}

// newest is the camera's last frame in its stream, nil before the first.
func (h *host) newest(camera string) *frame.Header {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.last[camera]
}

func (h *host) status(camera string) agentSays {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.statuses[camera]
}

func (h *host) telemetry() telemetry.Sample {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sample
}

func (h *host) heard() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.samples
}

// ids are images by their frames, with their paths.
type ids map[frame.ID]string

// stored lists a camera's images by the IDs in their names.
func (b *box) stored(camera string) ids {
	b.Helper()
	files, err := filepath.Glob(b.path("images", camera, "*.jpg"))
	if err != nil {
		b.Fatal(err)
	}
	found := ids{}
	for _, path := range files {
		_, text, _ := strings.Cut(strings.TrimSuffix(filepath.Base(path), ".jpg"), "_")
		id, err := frame.ParseID(text)
		if err != nil {
			b.Fatalf("%s: %v", path, err)
		}
		if found[id] != "" {
			b.Errorf("%s is stored twice", id)
		}
		found[id] = path
	}
	return found
}

// missing are those that others lack.
func (s ids) missing(others ids) (lost []frame.ID) {
	for id := range s {
		if others[id] == "" {
			lost = append(lost, id)
		}
	}
	return lost
}

func (s ids) highest() (high frame.ID) {
	for id := range s {
		if high.Less(id) {
			high = id
		}
	}
	return high
}
