package controller

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"framekeeper/internal/status"
	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/camera"
)

// A stopped agent's status stands until it expires, or for ever where it does
// not expire.
func TestPresenceThatDoesNotChange(t *testing.T) {
	cam := camera.Default()
	cam.Name, cam.StatusInterval = "cam1", 5*time.Second
	p := newPresences([]camera.Config{cam}, time.Second, func() map[string]int { return nil })
	text := []byte(`{"time_us":1,"link":{"state":"LIVE"},"capture":{"state":"ok"},"writable":true}`)
	now := time.Now()
	first := p.observe(text, &cam, now)
	p.seen = map[string]reading{"cam1": first}
	if r := p.observe(text, &cam, now.Add(11*time.Second)); !first.OK() || !r.OK() {
		t.Errorf("got %+v, then %+v, want both to count", first, r)
	}
	if r := p.observe(text, &cam, now.Add(12*time.Second)); r.Stale != 12*time.Second || r.OK() {
		t.Errorf("after 12 s: got %+v, want that it is stale", r)
	}
	text = []byte(strings.Replace(string(text), ":1,", ":2,", 1))
	if r := p.observe(text, &cam, now.Add(12*time.Second)); !r.OK() {
		t.Errorf("a new status: got %+v, want it to count", r)
	}
}

func camerasOf(names ...string) (all []camera.Config) {
	for _, name := range names {
		c := camera.Default()
		c.Name = name
		c.FillNames()
		all = append(all, c)
	}
	return all
}

// A presence is read again at once if it is not of the process that runs, soon
// if the camera has a trouble, and after the interval otherwise.
func TestWhichPresencesAreDue(t *testing.T) {
	running := map[string]int{"cam1": 7, "cam2": 8, "cam3": 9}
	p := newPresences(camerasOf("cam1", "cam2", "cam3", "cam4"), time.Minute, func() map[string]int { return running })
	now := time.Now()
	of := func(pid int, state string) reading {
		text := fmt.Sprintf(`{"pid":%d,"time_us":1,"link":{"state":%q},"capture":{"state":"ok"},"writable":true}`, pid, state)
		return reading{Observation: status.Observe([]byte(text)), at: now}
	}
	p.seen = map[string]reading{"cam1": of(7, "LIVE"), "cam2": of(8, "DOWN"), "cam3": of(3, "LIVE")}
	due := func(later time.Duration) (names string) {
		for _, c := range p.due(now.Add(later)) {
			names += " " + c.Name
		}
		return names
	}
	for later, want := range map[time.Duration]string{0: " cam3 cam4", troubledInterval: " cam2 cam3 cam4", healthyInterval: " cam1 cam2 cam3 cam4"} {
		if got := due(later); got != want {
			t.Errorf("after %v: got%s, want%s", later, got, want)
		}
	}
	p.setCameras(camerasOf("cam1", "cam9"))
	if got := due(0); got != " cam9" || len(p.seen) != 1 {
		t.Errorf("after a reload: got%s and %v, want cam9 and what was read of cam1", got, p.seen)
	}
}

func TestPresencesAreOfTheirSession(t *testing.T) {
	server := redistest.Start(t)
	p := newPresences(camerasOf("cam1", "cam2"), time.Minute, func() map[string]int { return nil })
	client := server.Client()
	if err := client.Set(t.Context(), "status:cam1", `{"time_us":1,"link":{"state":"LIVE"},"capture":{"state":"ok"},"writable":true}`, 0).Err(); err != nil {
		t.Fatal(err)
	}
	for _, c := range p.cameras {
		if err := p.read(t.Context(), client, &c); err != nil {
			t.Fatal(err)
		}
	}
	seen := p.observations()
	if one, two := seen["cam1"], seen["cam2"]; !one.OK() || two.OK() || two.Missing.Code != status.NoStatus {
		t.Errorf("got %+v, want that cam1 works and cam2 has no status", seen)
	}
	gone := redis.NewClient(&redis.Options{Addr: redistest.FreeAddr(t), MaxRetries: -1})
	defer gone.Close()
	if err := p.run(t.Context(), gone); err == nil {
		t.Error("a connection that is lost: got no error")
	}
	if seen := p.observations(); len(seen) != 0 {
		t.Errorf("after the session: got %+v, want nothing", seen)
	}
}
