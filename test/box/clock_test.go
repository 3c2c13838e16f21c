package box

import (
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// clockBox has a camera that sends and one that waits to be asked, whose reader
// therefore waits most of the time; ages are the defaults.
const clockBox = `state_dir = "DIR/state"
[redis]
url = "redis://127.0.0.1:6379/0"
embedded = true
connection_check_timeout = "10s" # nothing here is about a slow machine
io_timeout = "20s"
[delivery]
spool_dir = "DIR/spool"
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
publish_fps = 5
stall_timeout = "20s"
request_timeout = "20s"
status_interval = "1s"
[[camera]]
name = "cam2"
source = "test:"
width = 320
height = 240
fps = 15
stall_timeout = "20s"
request_timeout = "20s"
status_interval = "1s"
`

const neverSet = "1970-01-01T00:00:10"

var rightTime = time.Date(2026, 11, 25, 8, 0, 0, 0, time.UTC)

// TestClock runs a box without a battery: it starts in 1970, learns the time
// while it works, and starts again with the right time and without.
func TestClock(t *testing.T) {
	switch scene := os.Getenv(sceneVariable); scene {
	case "":
		m := newMachineTest(t)
		m.bootAndCut("learns", neverSet, 0, nil)
		m.boot("knows", rightTime.Format("2006-01-02T15:04:05"), nil).Repeat(t)
		m.boot("forgot", neverSet, nil).Repeat(t)
	default:
		c := &clockScene{box: inMachine(t, clockBox)}
		map[string]func(){"learns": c.learns, "knows": c.knows, "forgot": c.forgot}[scene]()
	}
}

// clockScene is one boot.
type clockScene struct {
	*box
	client, controller *program
	host               *host
	redis              int // its process, held
}

// begin starts a box and waits until it is healthy.
func (c *clockScene) begin() {
	c.Helper()
	c.client = c.start("client", "run", "--no-requests")
	c.controller = c.start("controller")
	c.awaitHealthy()
	c.host = startHost(c.T, "cam1", "cam2")
}

// learns sets the clock of a running box from 1970 to now and an hour back, then
// leaves it with frames on disk that were taken in 1970.
func (c *clockScene) learns() {
	if now := time.Now(); now.Year() != 1970 {
		c.Fatalf("the machine begins at %s", now)
	}
	c.begin()
	c.steady("started in 1970")
	c.set(rightTime)
	c.steady("set to 2026")
	c.set(time.Now().Add(-time.Hour))
	c.steady("set back by an hour")
	c.set(time.Unix(100, 0))
	c.steady("set back to 1970")
	c.undisturbed()

	c.hold()
	c.set(rightTime.Add(time.Minute))
	spooled := c.spooled("spool")
	c.await("frames on disk that were taken after the clock was set", func() bool { return c.spooled("spool") > spooled+10 })
	c.release()
	c.steady("set while frames were on disk")
	c.endClient("undeclared", "declared", "trimmed", "duplicates", "lost", "corrupt", "not stored")

	c.set(time.Unix(200, 0))
	agent := c.awaitHealthy().Agents["cam1"].PID
	c.hold()
	_ = syscall.Kill(agent, syscall.SIGSTOP) // what it has on disk is to be all there
	unix.Sync()
	c.Logf("left %d frames on disk and %d images", c.spooled("spool"), c.images("cam1"))
	c.awaitCut()
}

// knows begins with the right time, and with frames and images from 1970.
func (c *clockScene) knows() {
	kept, stored := c.spooled("spool"), c.stored("cam1")
	if kept < 10 {
		c.Fatalf("%d frames on disk, want those of 1970", kept)
	}
	c.begin()
	c.steady("started with the right time")
	c.endClient("undeclared", "lost", "corrupt", "not stored") // what Redis alone had is declared
	c.above(stored)
	if lost := stored.missing(c.stored("cam1")); len(lost) > 0 {
		c.Errorf("images of 1970 were deleted: %v", lost)
	}
	c.end()
}

// forgot begins in 1970 again, with images of 2026.
func (c *clockScene) forgot() {
	stored := c.stored("cam1")
	c.begin()
	c.steady("started in 1970 after 2026")
	c.endClient("undeclared", "lost", "corrupt", "not stored") // what Redis alone had is declared
	c.above(stored)
	if lost := stored.missing(c.stored("cam1")); len(lost) > 0 {
		c.Errorf("images of 2026 were deleted: %v", lost)
	}
	c.end()
}

// set makes the wall clock jump under everything that runs.
func (c *clockScene) set(to time.Time) {
	c.Helper()
	ts := unix.NsecToTimespec(to.UnixNano())
	if err := unix.ClockSettime(unix.CLOCK_REALTIME, &ts); err != nil {
		c.Fatal(err)
	}
}

// steady is content when everything goes on: frames are stored with the present
// time, requests get frames taken after them, telemetry comes.
func (c *clockScene) steady(what string) {
	c.Helper()
	const near = 10 * time.Second // agents look at the clock once a second
	isNow := func(us int64) bool { return time.Since(time.UnixMicro(us)).Abs() < near }
	before := c.images("cam1")
	c.await(what+": telemetry with the present time", func() bool { return isNow(c.host.telemetry().TimeUS) })
	c.await(what+": frames with the present time", func() bool {
		h := c.host.newest("cam1")
		return h != nil && isNow(h.CapturedUS)
	})
	c.idle()
	for range 3 {
		for _, camera := range c.host.cameras {
			h := c.host.ask(camera)
			if h == nil || !isNow(h.CapturedUS) || h.CapturedUS < h.RequestedUS {
				c.Errorf("%s: %s answered with %+v", what, camera, h)
			}
		}
	}
	c.await(what+": images stored", func() bool { return c.images("cam1") >= before+10 })
	c.awaitHealthy()
	if up := c.host.telemetry().UptimeS; up == nil || *up > 1000 {
		c.Errorf("%s: got an uptime of %v s", what, up)
	}
	c.Logf("%s: %s, %d and %d images", what, time.Now().UTC().Format(time.DateTime), c.images("cam1"), c.images("cam2"))
}

// idle lets some seconds pass, as the box counts them, in which nobody asks
// cam2 and its readers wait in vain.
func (c *clockScene) idle() {
	c.Helper()
	from := c.host.heard()
	c.await("some more telemetry", func() bool { return c.host.heard() >= from+12 })
}

// undisturbed wants no session lost since the start.
func (c *clockScene) undisturbed() {
	c.Helper()
	if s := c.host.link.Status(); s.Outages != 0 {
		c.Errorf("the host lost %d sessions: %+v", s.Outages, s.LastOutage)
	}
	for _, camera := range c.host.cameras {
		if s := c.host.status(camera); s.Link.Losses != 0 || s.Link.Sessions != 1 {
			c.Errorf("%s had %d sessions and lost %d, want 1 and 0", camera, s.Link.Sessions, s.Link.Losses)
		}
	}
	for _, p := range []*program{c.client, c.controller} {
		for line := range strings.Lines(p.out.String()) {
			if strings.Contains(line, "Redis connection lost") || strings.Contains(line, "is killed") {
				c.Errorf("%s: %s", p.name, line)
			}
		}
	}
}

// hold stops the box's Redis, and the controller that would replace it, until
// frames are on disk.
func (c *clockScene) hold() {
	c.Helper()
	c.redis = c.awaitHealthy().Redis.PID
	c.Cleanup(c.release)
	for _, pid := range []int{c.controller.pid, c.redis} {
		_ = syscall.Kill(pid, syscall.SIGSTOP)
	}
	c.await("frames on disk", func() bool { return c.spooled("spool") > 20 })
}

func (c *clockScene) release() {
	for _, pid := range []int{c.redis, c.controller.pid} {
		_ = syscall.Kill(pid, syscall.SIGCONT)
	}
}

// endClient ends the client and wants 0 in rows of its summary.
func (c *clockScene) endClient(rows ...string) {
	c.Helper()
	if err := c.client.end(syscall.SIGTERM); err != nil {
		c.Errorf("client: %v", err)
	}
	for _, row := range rows {
		if got := c.client.summaryOf(row); got != "0" {
			c.Errorf("%s: got %s, want 0", row, got)
		}
	}
	for _, camera := range c.host.cameras {
		s := c.host.readers[camera].Stats()
		if s.Undeclared+s.Duplicates+s.Corrupt > 0 || s.Declared > 0 && slices.Contains(rows, "declared") {
			c.Errorf("the host's reader of %s counts %+v", camera, s)
		}
	}
	text := c.client.out.String()
	c.Logf("the client:\n%s", text[max(0, strings.LastIndex(text, "Summary")):])
}

func (c *clockScene) end() {
	c.Helper()
	if err := c.controller.end(syscall.SIGTERM); err != nil {
		c.Errorf("controller: %v", err)
	}
}

// above wants every new entry's ID above all that were stored before.
func (c *clockScene) above(before ids) {
	c.Helper()
	high := before.highest()
	first := c.host.newest("cam1").ID
	c.Logf("IDs up to %s are stored, new ones are at %s", high, first)
	if !high.Less(first) {
		c.Errorf("the ID %s is not above %s", first, high)
	}
}
