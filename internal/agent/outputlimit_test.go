package agent

import (
	"bytes"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/hostile"
	"framekeeper/internal/testkit/linktest"
	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/redisconn"
)

func TestOutputLimitWarning(t *testing.T) {
	for _, c := range []struct {
		cam   camera.Config
		limit outputLimit
		want  string // a part of the warning; "": none
	}{
		{camera.Config{Width: 1920, Height: 1080, Encoding: frame.Raw}, defaultOutputLimit(), ""},
		{camera.Config{Width: 2560, Height: 1440, Encoding: frame.Raw}, defaultOutputLimit(), "8388608 60, its default): a subscriber that gets one seldom"},
		{camera.Config{Width: 2560, Height: 1440, Encoding: frame.JPEG}, defaultOutputLimit(), ""},
		{camera.Config{Width: 2560, Height: 1440, Encoding: frame.JPEG, Wire: camera.WirePickle}, defaultOutputLimit(), "limit"},
		{camera.Config{Width: 4096, Height: 3072, Encoding: frame.Raw}, defaultOutputLimit(), "no subscriber ever"},
		{camera.Config{Width: 4096, Height: 3072, Encoding: frame.Raw}, outputLimit{}, ""},
		{camera.Config{Width: 2560, Height: 1440, Encoding: frame.Raw}, outputLimit{hard: 1 << 30, soft: 1 << 29, seconds: 60}, ""},
	} {
		got := c.limit.warning(pixelBytes(&c.cam, c.cam.Width, c.cam.Height))
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%dx%d %s %s with %+v: got %q, want %q", c.cam.Width, c.cam.Height, c.cam.Encoding, c.cam.Wire, c.limit, got, c.want)
		}
	}
}

func TestOutputLimitIsAskedFor(t *testing.T) {
	testkit.NeedRedis(t)
	server := redistest.Start(t)
	ask := func(s *redistest.Server) outputLimit { return askOutputLimit(t.Context(), testkit.Fast(s.URL())) }
	want := defaultOutputLimit()
	want.asked = true
	if got := ask(server); got != want {
		t.Errorf("Redis's default: got %+v, want %+v", got, want)
	}
	server.ConfigSet("client-output-buffer-limit", "pubsub 268435456 134217728 30")
	if got := ask(server); got != (outputLimit{hard: 268435456, soft: 134217728, seconds: 30, asked: true}) {
		t.Errorf("a raised limit: got %+v", got)
	}
	tight := redistest.Start(t, redistest.WithACL("user default on nopass ~* &* +@all -config"))
	if got := ask(tight); got != defaultOutputLimit() {
		t.Errorf("without the right to ask: got %+v, want the default", got)
	}
	away := testkit.Fast(testkit.RedisURL(redistest.FreePort(t)))
	if got := askOutputLimit(t.Context(), away); got != defaultOutputLimit() {
		t.Errorf("Redis is away: got %+v, want the default", got)
	}
	away.Embedded = true
	if got := askOutputLimit(t.Context(), away); got != (outputLimit{}) {
		t.Errorf("the controller's own server: got %+v, want none", got)
	}
}

// The check names a server that the agent will never be able to use.
func TestTheCheckNamesAServerThatIsNotSupported(t *testing.T) {
	testkit.NeedRedis(t)
	cluster := redistest.Start(t, redistest.WithConfig("cluster-enabled", "yes"))
	old := hostile.Start(t, redistest.Start(t).Addr())
	old.Answer("hello", "*4\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n6.0.16\r\n")
	cam := camera.Default()
	cam.Name, cam.Source, cam.Width, cam.Height = "testcam", "test:", 320, 240
	for url, want := range map[string]string{cluster.URL(): "Cluster is not supported", old.URL(): "6.0.16 is too old"} {
		var out bytes.Buffer
		limit := func() outputLimit { return askOutputLimit(t.Context(), testkit.Unhurried(url)) }
		if err := checkAll(t.Context(), []camera.Config{cam}, limit, false, &out); err != nil || !strings.Contains(out.String(), want) {
			t.Errorf("got %v and\n%swant %q in a warning", err, &out, want)
		}
	}
}

func TestFramesBeyondTheOutputLimitAreWarnedOfOnce(t *testing.T) {
	testkit.NeedRedis(t)
	server := redistest.Start(t)
	cam := camera.Default()
	cam.Name, cam.Source, cam.Width, cam.Height, cam.Encoding = "testcam", "test:", 2560, 1440, frame.Raw
	var out bytes.Buffer
	limit := func() outputLimit { return askOutputLimit(t.Context(), testkit.Fast(server.URL())) }
	if err := checkAll(t.Context(), []camera.Config{cam}, limit, false, &out); err != nil || !strings.Contains(out.String(), "client-output-buffer-limit pubsub 33554432 8388608 60)") {
		t.Errorf("the check: got %v and\n%swant a warning with the limit", err, &out)
	}
	log := &testkit.Log{}
	worker := outputLimitWorker(redisconn.Config{}, &cam, zerolog.New(log))
	l := linktest.Listen(t, testkit.Fast(server.URL()), func(c *datatransfer.LinkConfig) { c.Workers = []datatransfer.Worker{worker} })
	const message = "Frames are larger than what Redis holds for a subscriber"
	testkit.Eventually(t, "a warning", func() bool { return testkit.Count(log.Messages(), message) == 1 })
	server.KillClients("pubsub")
	testkit.Eventually(t, "the next session", func() bool { return l.Status().Sessions > 1 && l.Status().State == datatransfer.Live })
	if n := testkit.Count(log.Messages(), message); n != 1 {
		t.Errorf("warned %d times, want once", n)
	}
}
