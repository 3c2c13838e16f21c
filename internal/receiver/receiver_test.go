package receiver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/redisconn"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func TestEarlyRequestsAreNotLost(t *testing.T) {
	c := newCameraReceiver(&Options{NoRequests: true}, &camera.Config{Name: "cam"}, "", nil)
	c.counts.add(requests, 5)
	c.counts.add(answered, 2)
	c.counts.add(early, 3)
	if got := c.totals(); got.lost() != 3 {
		t.Errorf("an agent that published nothing: got %d lost, want 3", got.lost())
	}
	c.counts.seen.Store(true)
	got := c.totals()
	if faults := c.faults(); len(faults) != 0 || got.lost() != 0 {
		t.Errorf("an agent that began later: got %d lost, %q, want none", got.lost(), faults)
	}
	c.counts.add(requests, 1)
	c.counts.add(dropped, 4)
	reason := errors.New("disk full")
	c.storer.unstored.begin(reason, &c.log, "")
	all := strings.Join(c.faults(), ", ")
	for _, want := range []string{"5 lost (1 requests without an answer, 4 came faster than they could be stored)", "disk full"} {
		if !strings.Contains(all, want) {
			t.Errorf("faults: got %q, want %q in it", all, want)
		}
	}
}

// A client to which nothing can arrive any more must end with the reason.
func TestRunEndsWithItsLink(t *testing.T) {
	r := New(Options{Config: Default(), Log: zerolog.Nop()})
	fatal := errors.New("nothing helps")
	redis := redistest.Start(t)
	cfg := redisconn.Default()
	cfg.URL = redis.URL()
	r.link = datatransfer.NewLink(datatransfer.LinkConfig{
		Redis: cfg, Name: "client", Log: zerolog.Nop(),
		Admit: func(context.Context, *datatransfer.Session) error { return &datatransfer.FatalError{Err: fatal} },
	})
	limited, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	r.Run(limited, noScreen{})
	if err := r.Err(); limited.Err() != nil || !errors.Is(err, fatal) {
		t.Errorf("the run ended with %v (time over: %v), want the reason of the link's end", err, limited.Err() != nil)
	}
}

type noScreen struct{}

func (noScreen) InPlace() bool { return false }
func (noScreen) Show(string)   {}

// Every row has a key of its own in JSON, and unknown figures are null.
func TestSummaryAsJSON(t *testing.T) {
	r := New(Options{Config: Default(), Streams: true, Cameras: []*camera.Config{{Name: "cam"}}})
	r.cameras[0].counts.add(requests, 3)
	r.cameras[0].counts.latency.add(2 * time.Millisecond)
	var out bytes.Buffer
	if err := r.WriteJSON(&out); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Cameras map[string]map[string]any
		Total   map[string]any
	}
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	cam := got.Cameras["cam"]
	if len(cam) != len(r.rows()) || cam["requests"] != 3.0 || cam["latency_max"] != 2.0 || cam["unknown"] != 0.0 || got.Total["lost"] != 3.0 {
		t.Errorf("got %s", &out)
	}
	if left, ok := cam["left_in_stream"]; !ok || left != nil {
		t.Errorf("left_in_stream: got %v, %v, want null", left, ok)
	}
}
