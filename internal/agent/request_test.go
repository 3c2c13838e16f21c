package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"framekeeper/internal/status"
	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/redistest"
	"framekeeper/internal/testkit/striptest"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/outbox"
	"framekeeper/pkg/rpc"
)

func TestOneRequestGivesOneFrame(t *testing.T) {
	testkit.NeedRedis(t)
	for _, mode := range []string{"stream", "pubsub", "both"} {
		for _, encoding := range []string{"jpeg", "png", "raw"} {
			t.Run(mode+" "+encoding, func(t *testing.T) {
				t.Parallel()
				server := redistest.Start(t)
				startAgent(t, writeConfig(t, server.URL(), fmt.Sprintf("[delivery]\nmode = %q\n", mode), small+fmt.Sprintf("encoding = %q", encoding)))
				a := newAsker(t, server.URL())
				m := a.ask(t, map[string]any{"angle": 25})
				var asked struct{ Angle int }
				if err := json.Unmarshal(m.Header.Request, &asked); err != nil || asked.Angle != 25 {
					t.Errorf("request echoed as %s (%v), want angle 25", m.Header.Request, err)
				}
				if n := number(t, m); n != m.Header.SensorSeq {
					t.Errorf("the image bears number %d, the header %d", n, m.Header.SensorSeq)
				}
				if got := len(a.messages()); got != 1 {
					t.Errorf("%d messages on the channel, want 1", got)
				}
				if mode == "pubsub" {
					return
				}
				testkit.Eventually(t, "the answer's entry is in the stream", func() bool { return len(entries(t, server.Client())) == 1 })
				if e := entries(t, server.Client())[0]; !bytes.Equal(e.Wire(), m.Wire()) {
					t.Errorf("stream entry %s differs from the answer %s", e.HeaderJSON(), m.HeaderJSON())
				}
			})
		}
	}
}

// number reads the frame number back from the picture.
func number(t *testing.T, m *frame.Message) uint64 {
	t.Helper()
	var img image.Image
	var err error
	switch m.Header.Encoding {
	case frame.Raw:
		n, err := striptest.ReadNumber(m.Image(), m.Header.Width, m.Header.Height)
		if err != nil {
			t.Fatalf("read number from raw frame: %v", err)
		}
		return n
	case frame.PNG:
		img, err = png.Decode(bytes.NewReader(m.Image()))
	default:
		img, err = jpeg.Decode(bytes.NewReader(m.Image()))
	}
	if err != nil {
		t.Fatalf("decode %s: %v", m.Header.Encoding, err)
	}
	stamp, err := striptest.ReadImage(img)
	if err != nil {
		t.Fatalf("read number from %s: %v", m.Header.Encoding, err)
	}
	return stamp.Number
}

// The pixels prove it: every number published before the request was sent must
// be below the answer's.
func TestFrameIsExposedAfterTheRequest(t *testing.T) {
	testkit.NeedRedis(t)
	server := redistest.Start(t)
	startAgent(t, writeConfig(t, server.URL(), "[delivery]\nmode = \"both\"", tiny+"fps = 100\npublish_fps = 100\nrequest_rate = 1000"))
	a := newAsker(t, server.URL())
	testkit.Eventually(t, "continuous frames flow", func() bool { return len(a.messages()) > 3 })
	for i := range 100 {
		seen := a.messages()
		newest := number(t, seen[len(seen)-1])
		m := a.ask(t, map[string]any{"angle": i})
		if n := number(t, m); n <= newest {
			t.Fatalf("request %d was answered with frame %d, but frame %d had been published before it", i, n, newest)
		}
		if m.Header.CapturedUS < m.Header.RequestedUS {
			t.Fatalf("captured_us %d is before requested_us %d", m.Header.CapturedUS, m.Header.RequestedUS)
		}
	}
}

func TestMaxAgeAllowsAnOlderFrame(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	startAgent(t, writeConfig(t, server.URL(), "", small+"fps = 0.5\nstall_timeout = \"5s\""))
	a := newAsker(t, server.URL())
	first := a.ask(t, map[string]any{"timeout_ms": 5000})
	again := a.ask(t, map[string]any{"max_age_ms": 3600000})
	if again.Header.SensorSeq != first.Header.SensorSeq {
		t.Errorf("a request that allows old frames got frame %d, want the newest one, %d", again.Header.SensorSeq, first.Header.SensorSeq)
	}
	if again.Header.ID == first.Header.ID {
		t.Errorf("two requests share the ID %s", first.Header.ID)
	}
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
	defer cancel()
	_, err := a.Request(ctx, map[string]any{"timeout_ms": 50})
	var reply *rpc.ReplyError
	if !errors.As(err, &reply) || !strings.Contains(reply.Reason, "timed out") {
		t.Errorf("a request that wants a new frame in 50 ms at 0.5 fps got %v, want a timeout from the agent", err)
	}
}

func TestMalformedRequestsGetErrorReplies(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	startAgent(t, writeConfig(t, server.URL(), "", small))
	a := newAsker(t, server.URL())
	a.ask(t, nil)
	for name, c := range map[string]struct{ send, want string }{
		"not JSON":    {"angle=25", "not JSON"},
		"a list":      {"[1,2]", "JSON list"},
		"a number":    {"25", "JSON number"},
		"id type":     {`{"id": 5}`, "id is a number, expected a string"},
		"timeout":     {`{"timeout_ms": "soon"}`, "timeout_ms is a string"},
		"timeout -1":  {`{"timeout_ms": -1}`, "timeout_ms is -1"},
		"max_age":     {`{"max_age_ms": []}`, "max_age_ms is a list"},
		"too deep":    {strings.Repeat("[", 33) + strings.Repeat("]", 33), "nested deeper than 32"},
		"too large":   {`{"x":"` + strings.Repeat("y", 64<<10) + `"}`, "at most 65536"},
		"no UTF-8":    {"{\"x\":\"\xff\"}", "UTF-8"},
		"nothing":     {"", "not JSON"},
		"unfinished":  {`{"angle": 25`, "not JSON"},
		"two objects": {`{"angle": 25} {"angle": 50}`, "not JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			before := len(a.messages())
			if err := server.Client().Publish(context.Background(), "request/greencam1", c.send).Err(); err != nil {
				t.Fatal(err)
			}
			testkit.Eventually(t, "an error reply", func() bool { return len(a.messages()) > before })
			h := a.messages()[before].Header
			if h.Status != frame.StatusError || !strings.Contains(h.Error, c.want) || !h.ID.IsZero() {
				t.Errorf("reply %+v, want status error with %q and no ID", h, c.want)
			}
		})
	}
	a.ask(t, map[string]any{"after": "all that"})
	if n := len(entries(t, server.Client())); n > 2 {
		t.Errorf("the stream has %d entries, want only the two frames", n)
	}
}

func TestRepeatedRequestGetsTheSameAnswer(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	startAgent(t, writeConfig(t, server.URL(), "", small))
	a := newAsker(t, server.URL())
	m := a.ask(t, map[string]any{"id": "once", "angle": 1})
	for range 3 {
		before := len(a.messages())
		if err := server.Client().Publish(context.Background(), "request/greencam1", `{"id":"once","angle":1}`).Err(); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, "the repeat is answered", func() bool { return len(a.messages()) > before })
		if got := a.messages()[before]; !bytes.Equal(got.Wire(), m.Wire()) {
			t.Errorf("repeat got %s, want the same message %s", got.HeaderJSON(), m.HeaderJSON())
		}
	}
	testkit.Eventually(t, "one entry in the stream", func() bool { return len(entries(t, server.Client())) == 1 })
}

// Each of thousands of requests gets one ID and one message, and memory stays flat.
func TestThousandsOfRequests(t *testing.T) {
	testkit.NeedRedis(t)
	const total = 4000
	server := redistest.Start(t)
	startAgent(t, writeConfig(t, server.URL(), "[delivery]\nstream_max_bytes = \"8MiB\"\nretain_bytes = \"4MiB\"",
		tiny+"fps = 1000\nrequest_rate = 100000"))
	a := newAsker(t, server.URL())
	var last frame.ID
	var early, late runtime.MemStats
	seen := map[frame.ID]bool{} // a busy machine may have a request repeated, and its answer
	for i := range total {
		m := a.ask(t, map[string]any{"angle": i})
		if !last.Less(m.Header.ID) {
			t.Fatalf("request %d got ID %s after %s", i, m.Header.ID, last)
		}
		last = m.Header.ID
		if i == total/2 { // by then every table is as full as it gets
			runtime.GC()
			runtime.ReadMemStats(&early)
		}
		a.mu.Lock()
		for _, m := range a.seen {
			seen[m.Header.ID] = true
		}
		a.seen = a.seen[:0]
		a.mu.Unlock()
	}
	runtime.GC()
	runtime.ReadMemStats(&late)
	if last.Seq != uint64(total) || len(seen) != total {
		t.Errorf("%d requests: last ID %s, %d frames; want one ID and one frame each", total, last, len(seen))
	}
	if grown := int64(late.HeapAlloc) - int64(early.HeapAlloc); grown > 8<<20 {
		t.Errorf("heap grew by %d KiB between request %d and %d", grown>>10, total/2, total)
	}
}

// More answers at once than fit into memory wait for room, and none is dropped.
func TestABurstOfLargeAnswersIsAnsweredWhole(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	const total = 60
	server := redistest.Start(t)
	startAgent(t, writeConfig(t, server.URL(), "[delivery]\nretain_bytes = \"1MiB\"\n",
		small+"encoding = \"raw\"\nrequest_rate = 1000\nrequest_timeout = \"10s\""))
	a := newAsker(t, server.URL())
	a.ask(t, nil)
	pipe := server.Client().Pipeline()
	for i := range total {
		pipe.Publish(context.Background(), "request/greencam1", fmt.Sprintf(`{"id":"burst-%d"}`, i))
	}
	if _, err := pipe.Exec(context.Background()); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "every request of the burst is answered", func() bool { return len(a.messages()) == 1+total })
	answered := map[string]bool{}
	for _, m := range a.messages() {
		if m.Header.Status != frame.StatusOK {
			t.Errorf("a request got %q", m.Header.Error)
		}
		answered[string(m.Header.Request)] = true
	}
	if len(answered) != 1+total {
		t.Errorf("%d different requests were answered, want %d", len(answered), 1+total)
	}
	testkit.Eventually(t, "every answer is in the stream", func() bool { return len(entries(t, server.Client())) == 1+total })
}

// While Redis refuses frames but passes messages on, requests go on being
// answered, however little memory there is: remembered answers must leave room.
func TestAnswersGoOnWhileTheStreamIsRefused(t *testing.T) {
	testkit.NeedRedis(t)
	server := redistest.Start(t)
	startAgent(t, writeConfig(t, server.URL(), "[delivery]\nretain_bytes = \"3MiB\"\n", small+"encoding = \"raw\"\npublish_fps = 10"))
	a := newAsker(t, server.URL())
	a.ask(t, nil)
	server.ConfigSet("maxmemory", "1mb")
	for i := range 40 { // 230 KB each: three times the memory
		if m := a.ask(t, map[string]any{"id": fmt.Sprint("refused-", i)}); m.Header.Status != frame.StatusOK {
			t.Fatalf("request %d got %q", i, m.Header.Error)
		}
	}
	server.ConfigSet("maxmemory", "0")
	testkit.Eventually(t, "every answer is in the stream", func() bool {
		answers, before := 0, uint64(0)
		for _, m := range entries(t, server.Client()) {
			if before > 0 && m.Header.ID.Seq != before+1 {
				t.Fatalf("frames between %d and %s were lost", before, m.Header.ID)
			}
			if before = m.Header.ID.Seq; m.Header.Request != nil {
				answers++
			}
		}
		return answers == 41
	})
}

func TestRealVideoFile(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	if jpegEncoder() == nil {
		t.Skip("built without OpenCV (tag noopencv): it has no file: source")
	}
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("ffmpeg is not installed")
	}
	clip := filepath.Join(t.TempDir(), "clip.mp4")
	out, err := exec.Command("ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=size=320x240:rate=25:duration=2", "-pix_fmt", "yuv420p", clip).CombinedOutput()
	if err != nil {
		t.Fatalf("ffmpeg: %v: %s", err, out)
	}
	server := redistest.Start(t)
	startAgent(t, writeConfig(t, server.URL(), "", fmt.Sprintf("source = %q", "file:"+clip)))
	a := newAsker(t, server.URL())
	for i := range 60 { // beyond the clip's 50 frames: it loops
		m := a.ask(t, map[string]any{"angle": i})
		img, err := jpeg.Decode(bytes.NewReader(m.Image()))
		if err != nil || img.Bounds().Dx() != 320 || img.Bounds().Dy() != 240 {
			t.Fatalf("frame %d: %v %v, want a 320x240 JPEG", i, err, img)
		}
	}
}

func TestTriggeredAndContinuousTogether(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	startAgent(t, writeConfig(t, server.URL(), "", small+"publish_fps = 15"))
	a := newAsker(t, server.URL())
	for i := range 20 {
		a.ask(t, map[string]any{"angle": i})
	}
	testkit.Eventually(t, "continuous frames in the stream", func() bool {
		n := 0
		for _, m := range entries(t, server.Client()) {
			if m.Header.Request == nil {
				n++
			}
		}
		return n >= 10
	})
	ids := []frame.ID{}
	for _, m := range entries(t, server.Client()) {
		ids = append(ids, m.Header.ID)
	}
	for i, id := range ids {
		if id.Seq != uint64(i+1) {
			t.Fatalf("entry %d has ID %s, want consecutive ones: %v", i, id, ids)
		}
	}
	for _, m := range a.messages() {
		if m.Header.Request == nil {
			t.Errorf("a continuous frame was published in delivery stream: %s", m.HeaderJSON())
		}
	}
}

const pythonReader = `
import json, sys, redis, cv2, numpy
r = redis.Redis(port=int(sys.argv[1]))
p = r.pubsub(ignore_subscribe_messages=True); p.subscribe("stream/greencam1")
p.get_message(timeout=5)
for angle in (25, 50):
    r.publish("request/greencam1", json.dumps({"angle": angle}))
    data = next(m["data"] for m in p.listen())
    header, image = data.split(b"\n", 1)
    h = json.loads(header)
    assert h["status"] == "ok" and h["request"]["angle"] == angle, h
    if h["encoding"] == "raw":
        img = numpy.frombuffer(image, "u1").reshape(h["height"], h["width"], 3)
    else:
        img = cv2.imdecode(numpy.frombuffer(image, "u1"), cv2.IMREAD_COLOR)
    assert img.shape == (240, 320, 3) and img.std() > 10, (img.shape, img.std())
while True: # the entry follows the answer
    found = [f for _, f in r.xrange("frames:greencam1") if json.loads(f[b"header"]).get("request", {}).get("angle") == 25]
    if found: break
assert len(found) == 1 and len(found[0][b"image"]) == json.loads(found[0][b"header"])["bytes"]
print("read")
`

func TestPythonReads(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	const python = "/usr/bin/python3"
	if out, err := exec.Command(python, "-c", "import redis, cv2, numpy").CombinedOutput(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("python3-redis and python3-opencv are needed: %s", out)
		}
		t.Skipf("python3-redis or python3-opencv is not installed: %s", out)
	}
	for _, encoding := range []string{"jpeg", "png", "raw"} {
		t.Run(encoding, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			startAgent(t, writeConfig(t, server.URL(), "", small+fmt.Sprintf("encoding = %q", encoding)))
			newAsker(t, server.URL()).ask(t, nil) // the agent is there
			ctx, cancel := context.WithTimeout(context.Background(), 2*testkit.Patience)
			defer cancel()
			out, err := exec.CommandContext(ctx, python, "-c", pythonReader, fmt.Sprint(server.Port())).CombinedOutput()
			if err != nil || !slices.Contains(strings.Fields(string(out)), "read") {
				t.Errorf("python: %v\n%s", err, out)
			}
		})
	}
}

func TestOrderlyEndHandsOverWhatIsHeld(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	config := writeConfig(t, server.URL(), "", small+"publish_fps = 30")
	stop, _ := startAgent(t, config)
	testkit.Eventually(t, "frames flow", func() bool { return server.Client().XLen(context.Background(), "frames:greencam1").Val() > 5 })
	if err := stop(); err != nil {
		t.Fatalf("agent ended with %v", err)
	}
	if n := server.Client().Exists(context.Background(), "status:greencam1").Val(); n != 0 {
		t.Error("status:greencam1 is still there after an orderly end")
	}
	last := entries(t, server.Client())
	_, log := startAgent(t, config)
	var started frame.Header
	testkit.Eventually(t, "the next epoch begins", func() bool {
		all, _ := server.Client().XRange(context.Background(), "frames:greencam1", "-", "+").Result()
		for _, e := range all {
			h, err := frame.ParseHeader([]byte(e.Values["header"].(string)))
			if err == nil && h.Status == frame.StatusStarted {
				started = h
			}
		}
		return started.ID.Epoch > last[0].Header.ID.Epoch
	})
	if started.Clean == nil || !*started.Clean || started.Previous == nil || *started.Previous != last[len(last)-1].Header.ID {
		t.Errorf("started %+v, want clean and previous %s; log:\n%s", started, last[len(last)-1].Header.ID, log)
	}
}

func TestSecondAgentIsRefused(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	first := writeConfig(t, server.URL(), "", small+"status_interval = \"200ms\"")
	startAgent(t, first)
	a := newAsker(t, server.URL())
	a.ask(t, nil)
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
	defer cancel()
	for name, config := range map[string]string{
		"same state_dir":  first,
		"other state_dir": writeConfig(t, server.URL(), "", small+"status_interval = \"200ms\""),
	} {
		err := Program().Run(ctx, []string{"--config", config}, &bytes.Buffer{}, &bytes.Buffer{})
		if !errors.Is(err, outbox.ErrClaimed) || exitCode(err) != status.ExitClaimed {
			t.Errorf("%s: second agent ended with %v, want %v", name, err, outbox.ErrClaimed)
		}
	}
	a.ask(t, map[string]any{"first": "unharmed"})
}

func TestAFrameIsFoundByItsTime(t *testing.T) {
	testkit.NeedRedis(t)
	server := redistest.Start(t)
	startAgent(t, writeConfig(t, server.URL(), "", small))
	a := newAsker(t, server.URL())
	before := time.Now().UnixMicro()
	h := a.ask(t, nil).Header
	after := time.Now().UnixMicro()
	for name, us := range map[string]int64{"requested_us": h.RequestedUS, "captured_us": h.CapturedUS, "published_us": h.PublishedUS} {
		if us < before || us > after {
			t.Errorf("%s %d is not between %d and %d", name, us, before, after)
		}
	}
}
