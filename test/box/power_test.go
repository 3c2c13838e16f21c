package box

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"framekeeper/internal/testkit/vmtest"
	"framekeeper/pkg/frame"
)

// powerBox writes as much as it can. Its Redis is the box's own, which forgets,
// or one that does not.
const powerBox = `state_dir = "DIR/state"
[redis]
url = "redis://127.0.0.1:6379/0"
embedded = EMBEDDED
[delivery]
spool_dir = "DIR/spool"
sync = "SYNC"
[log]
format = "json"
[controller]
box = "box1"
log_interval = "500ms"
http = "HTTP"
watchdog_timeout = "30s"
[client]
images_dir = "DIR/images"
[[camera]]
name = "cam1"
source = "test:"
width = 320
height = 240
fps = 15
publish_fps = 10
stall_timeout = "20s"
[[camera]]
name = "cam2"
source = "test:"
width = 320
height = 240
fps = 15
publish_fps = 10
stall_timeout = "20s"
`

var powerCameras = []string{"cam1", "cam2"}

// TestPowerCutsOfBox takes the power away from a box with a Redis of its own: while
// it works, while frames go to disk, while it starts. What was not written to
// the disk is gone then.
func TestPowerCutsOfBox(t *testing.T) {
	replace := strings.NewReplacer("EMBEDDED", "true", "SYNC", "batch")
	cutPower(t, replace.Replace(powerBox), "works", "spools", "starts", "spools", "spools")
}

// TestPowerCutsOfAll does the same to a box that has every frame on disk before
// it is sent, beside a Redis that has every entry on disk before it says so. Then
// nothing that was in the stream may be lost.
func TestPowerCutsOfAll(t *testing.T) {
	replace := strings.NewReplacer("EMBEDDED", "false", "SYNC", "always")
	cutPower(t, replace.Replace(powerBox), "works", "spools", "starts", "works")
}

func cutPower(t *testing.T, text string, scenes ...string) {
	if scene := os.Getenv(sceneVariable); scene != "" {
		s := &powerScene{box: inMachine(t, text), durable: strings.Contains(text, "embedded = false")}
		s.run(scene)
		return
	}
	m := newMachineTest(t)
	if os.Getenv(fullVariable) == "" {
		scenes = scenes[:2] // each boots a machine, which takes half a minute
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	books := newPowerBooks(strings.Contains(text, "embedded = false"))
	for _, scene := range scenes {
		t.Logf("cut while it %s", scene)
		longest := time.Second
		if scene == "starts" {
			longest = 3 * time.Second
		}
		m.bootAndCut(scene, "", time.Duration(random.Int64N(int64(longest))), books.said)
		books.cut()
	}
	m.boot("ends", "", books.said).Repeat(t)
	books.judge(t)
	if out, err := exec.Command("/sbin/e2fsck", "-f", "-n", m.disk).CombinedOutput(); err != nil {
		t.Errorf("the disk: %v\n%s", err, out)
	}
}

// powerScene is one boot.
type powerScene struct {
	*box
	durable bool
}

func (s *powerScene) run(scene string) {
	for _, c := range powerCameras {
		s.tell(c)
	}
	redis := 0
	if s.durable {
		redis = s.startRedis().pid
	}
	client := s.start("client", "run", "--no-requests")
	controller := s.start("controller")
	s.follow(client)
	if scene == "starts" {
		s.awaitCut()
	}
	h := s.awaitHealthy()
	s.awaitFrames(20, powerCameras...)
	switch scene {
	case "works":
		s.promise()
		s.awaitCut()
	case "spools":
		if h.Redis != nil {
			redis = h.Redis.PID
		}
		for _, pid := range []int{controller.pid, redis} { // the controller would replace it
			_ = syscall.Kill(pid, syscall.SIGSTOP)
		}
		s.fill()
		s.promise()
		s.awaitCut()
	}
	s.end(client, controller)
}

// startRedis begins a redis-server that forgets nothing.
func (s *powerScene) startRedis() *program {
	s.Helper()
	dir := s.path("redis")
	if err := os.MkdirAll(dir, 0o750); err != nil {
		s.Fatal(err)
	}
	return s.spawn("/usr/bin/redis-server", "--dir", dir, "--save", "", "--appendonly", "yes", "--appendfsync", "always")
}

// tell says what of a camera is on the disk.
func (s *powerScene) tell(camera string) {
	if place := s.place(camera); !place.IsZero() {
		vmtest.Say("place", camera, place)
	}
	if held := s.held(camera); len(held) > 0 {
		vmtest.Say(append([]any{"held", camera}, anys(held)...)...)
	}
	if stored := s.stored(camera); len(stored) > 0 {
		vmtest.Say(append([]any{"stored", camera}, anys(slices.Collect(maps.Keys(stored)))...)...)
	}
}

func anys(all []frame.ID) (words []any) {
	for _, id := range all {
		words = append(words, id)
	}
	return words
}

// place is how far the client has come, zero if it has not begun.
func (s *powerScene) place(camera string) frame.ID {
	text, _ := os.ReadFile(s.path("images", ".state", camera+".watermark"))
	id, _ := frame.ParseID(strings.TrimSpace(string(text)))
	return id
}

// promise lists which images a power cut must not take: those that the client's
// place on disk has passed.
func (s *powerScene) promise() {
	for _, c := range powerCameras {
		place, stored := s.place(c), s.stored(c)
		maps.DeleteFunc(stored, func(id frame.ID, _ string) bool { return place.Less(id) })
		vmtest.Say(append([]any{"promised", c}, anys(slices.Collect(maps.Keys(stored)))...)...)
	}
}

// follow reports every entry of the streams, as it comes, and frames that
// the client misses.
func (s *powerScene) follow(reader *program) {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:6379", Protocol: 2, DisableIdentity: true})
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(s.Context())
	s.Cleanup(func() { cancel(); <-done; _ = client.Close() })
	go func() {
		defer close(done)
		after := map[string]string{}
		for ctx.Err() == nil {
			for _, c := range powerCameras {
				keys := []string{"frames:" + c, cmp.Or(after[c], "0")}
				streams, err := client.XRead(ctx, &redis.XReadArgs{Streams: keys, Count: 100, Block: -1}).Result()
				if err != nil {
					continue // there is none yet, or nothing new
				}
				for _, m := range streams[0].Messages {
					text, _ := m.Values["header"].(string)
					after[c] = m.ID
					vmtest.Say("entry", c, text)
				}
			}
			if strings.Contains(reader.out.String(), "were not declared lost") {
				vmtest.Say("undeclared", powerCameras[0])
			}
			time.Sleep(20 * time.Millisecond)
		}
	}()
}

// fill waits until many frames are on disk, reports which of them must have been
// synced, and goes on telling what is there.
func (s *powerScene) fill() {
	s.Helper()
	// An agent syncs after 32 frames at the latest, so what has twice as many
	// behind it is safe.
	const behind = 70
	for _, c := range powerCameras {
		// What Redis had confirmed just before may still be there, and go.
		early := s.held(c)
		var held []frame.ID
		s.await("many frames of "+c+" on disk", func() bool {
			held = s.held(c)
			return len(held) > behind+20 && (len(early) == 0 || slices.Index(held, early[len(early)-1]) < len(held)-behind)
		})
		vmtest.Say(append([]any{"safe", c}, anys(held[:len(held)-behind])...)...)
	}
	done := make(chan struct{})
	s.Cleanup(func() { <-done })
	go func() {
		defer close(done)
		for s.Context().Err() == nil {
			for _, c := range powerCameras {
				if held := s.held(c); len(held) > 0 {
					vmtest.Say("spool", c, held[len(held)-1])
				}
			}
			time.Sleep(20 * time.Millisecond)
		}
	}()
}

// held lists the frames of a camera on disk, in order.
func (b *box) held(camera string) (all []frame.ID) {
	files, _ := filepath.Glob(b.path("spool", camera, "*", "*", "*.frame"))
	for _, path := range files {
		if id, err := frame.ParseID(strings.TrimSuffix(filepath.Base(path), ".frame")); err == nil {
			all = append(all, id)
		}
	}
	slices.SortFunc(all, frame.ID.Compare)
	return all
}

// end ends the last boot's box in order, and reports what the client has.
func (s *powerScene) end(client, controller *program) {
	s.Helper()
	if err := client.end(syscall.SIGTERM); err != nil {
		s.Errorf("client: %v", err)
	}
	for _, row := range []string{"undeclared", "corrupt", "not stored", "lost"} {
		if got := client.summaryOf(row); got != "0" {
			s.Errorf("%s: got %s, want 0", row, got)
		}
	}
	if err := controller.end(syscall.SIGTERM); err != nil {
		s.Errorf("controller: %v", err)
	}
	for _, c := range powerCameras {
		s.tell(c)
		for id, path := range s.stored(c) {
			body, err := os.ReadFile(path)
			if err != nil {
				s.Fatal(err)
			}
			if !bytes.HasPrefix(body, []byte("\xff\xd8")) || !bytes.HasSuffix(body, []byte("\xff\xd9")) {
				s.Errorf("%s is not whole: %d bytes", path, len(body))
			}
			vmtest.Say("image", c, id, frame.Checksum(body))
		}
	}
	journal, err := exec.Command("dmesg").Output()
	if err != nil {
		s.Fatal(err)
	}
	for line := range strings.Lines(string(journal)) {
		if strings.Contains(line, "EXT4-fs") {
			s.Log(strings.TrimSpace(line))
		}
	}
}
