package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/redisconn"
	"framekeeper/pkg/stream"
)

// ruins are what may happen to the files of a spool, oldest first, between two starts;
// each returns how many frames it takes.
var ruins = map[string]func(t *testing.T, files []string) int{
	"they are too old": func(t *testing.T, files []string) int {
		all, err := filepath.Glob(filepath.Join(filepath.Dir(files[0]), "*.frame")) // also one that was just delivered: ages rise with IDs
		must(t, err)
		for _, f := range all {
			old := time.Now().Add(-48 * time.Hour)
			must(t, os.Chtimes(f, old, old))
		}
		return len(files)
	},
	"the first is empty":     func(t *testing.T, files []string) int { return cut(t, 0, files[0]) },
	"the last is empty":      func(t *testing.T, files []string) int { return cut(t, 0, files[len(files)-1]) },
	"all are empty":          func(t *testing.T, files []string) int { return cut(t, 0, files...) },
	"the first is torn":      func(t *testing.T, files []string) int { return cut(t, 2000, files[0]) },
	"one is torn":            func(t *testing.T, files []string) int { return cut(t, 2000, files[3]) },
	"the last is torn":       func(t *testing.T, files []string) int { return cut(t, 2000, files[len(files)-1]) },
	"the first is gone":      func(t *testing.T, files []string) int { return remove(t, files[0]) },
	"two are gone":           func(t *testing.T, files []string) int { return remove(t, files[3], files[4]) },
	"the last is gone":       func(t *testing.T, files []string) int { return remove(t, files[len(files)-1]) },
	"all are gone":           func(t *testing.T, files []string) int { return remove(t, files...) },
	"the directory is gone":  removeAll,
	"every second is broken": flipEverySecond,
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func cut(t *testing.T, size int64, files ...string) int {
	t.Helper()
	for _, f := range files {
		must(t, os.Truncate(f, size))
	}
	return len(files)
}

func remove(t *testing.T, files ...string) int {
	t.Helper()
	for _, f := range files {
		must(t, os.Remove(f))
	}
	return len(files)
}

func removeAll(t *testing.T, files []string) int {
	t.Helper()
	must(t, os.RemoveAll(filepath.Dir(filepath.Dir(filepath.Dir(files[0])))))
	return len(files)
}

func flipEverySecond(t *testing.T, files []string) (n int) {
	t.Helper()
	for i := 0; i < len(files); i += 2 {
		b, err := os.ReadFile(files[i])
		must(t, err)
		b[len(b)/2] ^= 1
		must(t, os.WriteFile(files[i], b, 0o600))
		n++
	}
	return n
}

// medium is a camera whose frames are 57 KB.
const medium = "source = \"test:\"\nwidth = 160\nheight = 120\nencoding = \"raw\"\npublish_fps = 30\n"

// outage is a camera's Redis behind a line that can be cut.
type outage struct {
	server *redistest.Server
	line   *redistest.Proxy
	config string
	spool  string
}

func newOutage(t *testing.T, delivery, camera string) *outage {
	t.Helper()
	o := &outage{server: redistest.Start(t)}
	o.line = redistest.NewProxy(t, o.server.Addr())
	o.config = writeConfig(t, o.line.URL(), delivery, camera)
	o.spool = filepath.Join(filepath.Dir(o.config), "spool")
	return o
}

// begin cuts the line once frames flow.
func (o *outage) begin(t *testing.T) {
	t.Helper()
	testkit.Eventually(t, "frames", func() bool { return o.server.Client().XLen(t.Context(), "frames:greencam1").Val() > 5 })
	o.cut()
}

func (o *outage) cut() {
	o.line.Refuse()
	o.line.CutAll()
}

// fill waits until frames are on disk.
func (o *outage) fill(t *testing.T) {
	t.Helper()
	testkit.Eventually(t, "frames on disk", func() bool { return len(o.files(t)) > 15 })
}

// files are those of the spool, oldest first, that Redis does not have.
func (o *outage) files(t *testing.T) (files []string) {
	t.Helper()
	last := lastEntry(t, o.server)
	must(t, filepath.WalkDir(o.spool, func(path string, _ os.DirEntry, err error) error {
		if id := frameID(path); err == nil && !id.IsZero() && last.Less(id) {
			files = append(files, path)
		}
		return nil
	}))
	slices.SortFunc(files, func(a, b string) int { return frameID(a).Compare(frameID(b)) })
	return files
}

// frameID is the ID of the frame in a file; zero: none is.
func frameID(file string) frame.ID {
	id, _ := frame.ParseID(strings.TrimSuffix(filepath.Base(file), ".frame"))
	return id
}

func frameIDs(files []string) (ids []frame.ID) {
	for _, f := range files {
		ids = append(ids, frameID(f))
	}
	return ids
}

func lastEntry(t *testing.T, server *redistest.Server) frame.ID {
	t.Helper()
	all, err := server.Client().XRevRangeN(t.Context(), "frames:greencam1", "+", "-", 1).Result()
	must(t, err)
	if len(all) == 0 {
		return frame.ID{}
	}
	id, err := frame.ParseID(all[0].ID)
	must(t, err)
	return id
}

// heal ends the outage, and lets an agent run until frames of its own are in the
// stream: then all that waited is there too.
func (o *outage) heal(t *testing.T) *testkit.Log {
	t.Helper()
	o.line.Accept()
	before := savedEpoch(t, o.config)
	stop, log := startAgent(t, o.config)
	testkit.Eventually(t, "frames of this start", func() bool { last := lastEntry(t, o.server); return last.Epoch > before && last.Seq > 0 })
	must(t, stop())
	return log
}

// savedEpoch is the epoch of the last start.
func savedEpoch(t *testing.T, config string) uint64 {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(filepath.Dir(config), "state", "greencam1", "state.json"))
	must(t, err)
	var saved struct {
		Epoch uint64 `json:"epoch"`
	}
	must(t, json.Unmarshal(text, &saved))
	return saved.Epoch
}

// account is what a reader of the whole stream makes of it.
func account(t *testing.T, server *redistest.Server) stream.ConsumerStats {
	t.Helper()
	c := stream.NewConsumer(stream.ConsumerConfig{
		Key: "frames:greencam1", FromStart: true, Handle: func(context.Context, *frame.Message) error { return nil }, Log: zerolog.Nop(),
	})
	cfg := redisconn.Default()
	cfg.URL = server.URL()
	link := datatransfer.NewLink(datatransfer.LinkConfig{Redis: cfg, Name: "reader", Log: zerolog.Nop(), Workers: []datatransfer.Worker{c.Worker()}})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- link.Run(ctx) }()
	last := lastEntry(t, server)
	testkit.Eventually(t, "the reader is at the stream's end", func() bool { return !c.Stats().Watermark.Less(last) })
	cancel()
	<-done
	return c.Stats()
}

// startAndKill runs an agent as a process for the time of life, and kills it.
func startAndKill(t *testing.T, config string, life func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "--config", config)
	cmd.Env = append(os.Environ(), asAgent+"=1")
	must(t, cmd.Start())
	defer func() { _ = cmd.Wait() }() // it was killed
	defer func() { _ = cmd.Process.Kill() }()
	life()
}

// whileAway lets an agent begin and end without Redis, with some frames more on disk.
func (o *outage) whileAway(t *testing.T, kill bool) {
	t.Helper()
	before := len(spooled(t, o.spool))
	more := func() {
		t.Helper()
		testkit.Eventually(t, "more frames on disk", func() bool { return len(spooled(t, o.spool)) > before+8 })
	}
	if kill {
		startAndKill(t, o.config, more)
		return
	}
	stop, _ := startAgent(t, o.config)
	more()
	must(t, stop())
}

// Whatever happens to spooled frames between two starts, a reader learns of every one
// that is lost, and gets the others.
func TestWhatHappensToSpooledFramesIsDeclared(t *testing.T) {
	testkit.NeedRedis(t)
	for name, ruin := range ruins {
		for _, c := range []struct {
			name   string
			kill   bool // the starts do not end in order
			starts int  // that do not reach Redis
		}{{"", false, 0}, {", two starts without Redis", false, 2}, {", killed", true, 0}, {", killed, killed without Redis", true, 1}} {
			t.Run(name+c.name, func(t *testing.T) {
				t.Parallel()
				o := newOutage(t, "", medium)
				if c.kill {
					startAndKill(t, o.config, func() { o.begin(t); o.fill(t) })
				} else {
					stop, _ := startAgent(t, o.config)
					o.begin(t)
					o.fill(t)
					must(t, stop())
				}
				lost := ruin(t, o.files(t))
				for range c.starts {
					o.whileAway(t, c.kill)
				}
				log := o.heal(t)
				s := account(t, o.server)
				switch {
				case s.Undeclared > 0 || s.Duplicates > 0:
					t.Errorf("%d frames lost: %+v", lost, s)
				case !c.kill && (s.Declared != uint64(lost) || s.Unknown > 0):
					t.Errorf("%d frames lost, want that many declared: %+v", lost, s)
				case s.Declared > uint64(lost):
					t.Errorf("%d frames lost, more declared: %+v", lost, s)
				}
				if t.Failed() {
					t.Logf("%s\n%s", log, describe(t, o.server))
				}
			})
		}
	}
}

// describe lists what the stream has beside frames.
func describe(t *testing.T, server *redistest.Server) (text string) {
	t.Helper()
	all, err := server.Client().XRange(t.Context(), "frames:greencam1", "-", "+").Result()
	must(t, err)
	for _, e := range all {
		if m, err := frame.ParseEntry(e.Values); err == nil && m.Header.Status != frame.StatusOK {
			text += fmt.Sprintf("%s %s\n", e.ID, m.HeaderJSON())
		}
	}
	return fmt.Sprintf("%d entries, from %s to %s\n%s", len(all), all[0].ID, all[len(all)-1].ID, text)
}
