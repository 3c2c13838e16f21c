package view

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"framekeeper/internal/status"
	"framekeeper/internal/telemetry"
	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/redistest"
	"framekeeper/internal/web/access"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/frame"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// plant is a Redis with what agents and controllers put there.
type plant struct {
	t     *testing.T
	redis *redistest.Server
	c     *redis.Client
}

func newPlant(t *testing.T) *plant {
	t.Helper()
	testkit.NeedRedis(t)
	p := &plant{t: t, redis: redistest.Start(t)}
	p.connect()
	return p
}

func (p *plant) connect() {
	options, err := redis.ParseURL(p.redis.URL())
	if err != nil {
		p.t.Fatal(err)
	}
	p.c = redis.NewClient(options)
	p.t.Cleanup(func() { _ = p.c.Close() })
}

// agent is the status of a healthy one; change is what differs.
func agent(name, host string, change ...func(*status.Agent)) *status.Agent {
	a := &status.Agent{
		Camera: name, Host: host, PID: 42, TimeUS: time.Now().UnixMicro(), UptimeS: 90, Source: "test:", Delivery: "stream", Encoding: "jpeg", Publish: 5,
		Link: status.AgentLink{State: "LIVE"}, Capture: status.Capture{State: camera.StateOK, FPS: 30, Width: 1280, Height: 720}, Writable: true,
	}
	for _, f := range change {
		f(a)
	}
	return a
}

func stalled(a *status.Agent) {
	a.Capture.State, a.Capture.Reason = camera.StateStalled, "no frames for 2s"
}
func onlyPublished(a *status.Agent) { a.Delivery = "pubsub" }
func onRequest(a *status.Agent)     { a.Publish = 0 }

// report writes and publishes a status, as an agent does.
func (p *plant) report(a *status.Agent) {
	p.t.Helper()
	text, err := json.Marshal(a)
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.c.Set(context.Background(), "status:"+a.Camera, text, time.Hour).Err(); err != nil {
		p.t.Fatal(err)
	}
	if err := p.c.Publish(context.Background(), "status/"+a.Camera, text).Err(); err != nil {
		p.t.Fatal(err)
	}
}

// measure publishes a box's telemetry.
func (p *plant) measure(box string, cameras ...string) {
	p.t.Helper()
	cpu := 12.5
	s := telemetry.Sample{Box: box, TimeUS: time.Now().UnixMicro(), CPU: &cpu, Agents: map[string]telemetry.AgentSample{}}
	for _, name := range cameras {
		s.Agents[name] = telemetry.AgentSample{PID: 42, State: string(status.ProcessRunning), Restarts: 3}
	}
	text, err := s.Payload("json")
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.c.Publish(context.Background(), box+"_log", text).Err(); err != nil {
		p.t.Fatal(err)
	}
}

// message is a frame of 640 × 360 that was exposed so long ago.
func message(t *testing.T, name string, n int, age time.Duration, request string) *frame.Message {
	t.Helper()
	m, err := frame.NewMessage(frame.Header{
		Camera: name, ID: frame.ID{Epoch: 1764, Seq: uint64(n)}, Status: frame.StatusOK, Encoding: frame.JPEG, Width: 640, Height: 360,
		CapturedUS: time.Now().Add(-age).UnixMicro(), Request: json.RawMessage(request),
	}, picture(n))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// picture is a JPEG of 640 × 360 that its number makes different from others.
func picture(n int) []byte {
	m := image.NewGray(image.Rect(0, 0, 640, 360))
	for i := range m.Pix {
		m.Pix[i] = byte(i/640 + i%640/4 + n*40)
	}
	for x := range 60 {
		for y := range 60 {
			m.SetGray((n*17+x)%640, 100+y, color.Gray{Y: 255})
		}
	}
	var b bytes.Buffer
	_ = jpeg.Encode(&b, m, nil) // a buffer takes all
	return b.Bytes()
}

// expose adds a frame to a camera's stream.
func (p *plant) expose(name string, n int, age time.Duration) {
	p.t.Helper()
	m := message(p.t, name, n, age, "")
	if err := p.c.XAdd(context.Background(), &redis.XAddArgs{Stream: "frames:" + name, ID: m.Header.ID.String(), Values: m.Entry()}).Err(); err != nil {
		p.t.Fatal(err)
	}
}

// keep calls f, and again every pause until the test ends or stop is called.
func (p *plant) keep(pause time.Duration, f func()) (stop func()) {
	f()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		tick := time.NewTicker(pause)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				f()
			case <-ctx.Done():
				return
			}
		}
	})
	stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	p.t.Cleanup(stop)
	return stop
}

// serve runs a View and returns where.
func (p *plant) serve(change ...func(*Options)) string {
	p.t.Helper()
	o := Options{
		Redis: testkit.Unhurried(p.redis.URL()), Web: access.Settings{HTTP: "127.0.0.1:0"}, Version: "v1", Log: zerolog.New(zerolog.NewTestWriter(p.t)),
	}
	for _, f := range change {
		f(&o)
	}
	v, err := Listen(context.Background(), o)
	if err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- v.Run(ctx) }()
	p.t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		cancel()
		if err := <-done; err != nil {
			p.t.Errorf("Run returned %v, want nil", err)
		}
	})
	return "http://" + v.Addr()
}

// get reads an address.
func get(t *testing.T, url string) (*http.Response, string) {
	t.Helper()
	return do(t, http.MethodGet, url, "")
}

func do(t *testing.T, method, url, body string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

// awaits waits until a page has all the words, in this order.
func awaits(t *testing.T, url string, words ...string) (page string) {
	t.Helper()
	testkit.Eventually(t, fmt.Sprintf("%q on %s", words, url), func() bool {
		_, page = get(t, url)
		page, _, _ = strings.Cut(page, "<script>")
		rest, found := page, false
		for _, w := range words {
			if _, rest, found = strings.Cut(rest, w); !found {
				return false
			}
		}
		return true
	})
	return page
}

// What agents and controllers report is on the pages: the worst first, filtered, by
// box and by camera.
func TestPages(t *testing.T) {
	p := newPlant(t)
	url := p.serve()
	awaits(t, url, "No camera has reported on this Redis yet")
	p.report(agent("cam1", "edge1.example"))
	p.report(agent("cam2", "edge2", stalled))
	p.report(agent("cam3", "edge1"))
	p.c.Set(t.Context(), "status:cam4", "nonsense", time.Minute)
	p.c.Set(t.Context(), "status:../../etc", "nonsense", time.Minute)
	p.keep(200*time.Millisecond, func() { p.measure("greenbox", "cam1", "cam3") })
	page := awaits(t, url, `id="box-edge2"`, "cam2", "gives no frames: capture is stalled", `id="box-greenbox"`, "CPU 12.5 %", "cam1", "is healthy", "cam3")
	if strings.Contains(page, "etc") || strings.Contains(page, "box-edge1") {
		t.Error("the overview has a camera of no valid name, or a box twice")
	}
	awaits(t, url+"/?q=GREEN+cam3", "1 of 4 cameras")
	awaits(t, url+"/?health=failed", "2 of 4 cameras")
	awaits(t, url+"/?q=nothing", "No camera fits the filter")
	awaits(t, url+"/boxes/greenbox", "All boxes", "<h1>greenbox</h1>", "cam1", "restarts</dt><dd>3", "Connection to Redis", "CPU</dt><dd>12.5 %")
	awaits(t, url+"/cameras/cam2", "/boxes/edge2", "<h1>cam2</h1>", "capture is stalled", "1280 × 720", "5 frames/s")
	for _, path := range []string{"/boxes/nobox", "/cameras/nocam", "/cameras/nocam/latest.jpg", "/images", "/readyz", "/metrics"} {
		if resp, _ := get(t, url+path); resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s: got %d, want 404", path, resp.StatusCode)
		}
	}
	if resp, _ := get(t, url+"/healthz"); resp.StatusCode != http.StatusOK {
		t.Errorf("/healthz: got %d", resp.StatusCode)
	}
	p.report(agent("cam2", "edge2"))
	awaits(t, url+"/?q=cam2", "is healthy")
	p.c.Del(t.Context(), "status:cam2")
	awaits(t, url+"/?q=cam2", "is absent")
}

// However many look, Redis gives one frame a second, and none when nobody does. An
// age is by the agent's clock.
func TestPicturesAreShared(t *testing.T) {
	p := newPlant(t)
	const off = -90 * time.Second // of the agent's clock
	p.keep(300*time.Millisecond, func() {
		p.report(agent("cam1", "edge1", func(a *status.Agent) { a.TimeUS = time.Now().Add(off).UnixMicro() }))
	})
	p.expose("cam1", 1, -off)
	url := p.serve()
	latest := url + "/cameras/cam1/latest.jpg?w=160"
	testkit.Eventually(t, "a picture with its age", func() bool {
		p.c.Del(t.Context(), "frames:cam1")
		p.expose("cam1", int(time.Now().UnixMilli()), -off)
		resp, _ := get(t, latest)
		return resp.StatusCode == http.StatusOK && resp.Header.Get("X-Image-Size") == "160x90" && resp.Header.Get("X-Exposure-Size") == "640x360"
	})
	n := 1 << 50
	p.keep(100*time.Millisecond, func() { n++; p.expose("cam1", n, -off) })
	before, began := p.calls("xrevrange"), time.Now()
	var looking sync.WaitGroup
	for range 10 {
		looking.Go(func() {
			for time.Since(began) < 3*time.Second {
				resp, err := http.Get(latest) //nolint:noctx // ends at once
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
		})
	}
	looking.Wait()
	took := time.Since(began)
	calls := p.calls("xrevrange") - before
	if most := int(took/time.Second) + 2; calls < 1 || calls > most {
		t.Errorf("ten who look for %v cost %d reads of the stream, want 1 to %d", took, calls, most)
	}
	before = p.calls("xrevrange")
	time.Sleep(1500 * time.Millisecond) //nolint:forbidigo // that nothing happens takes time
	if calls := p.calls("xrevrange") - before; calls > 0 {
		t.Errorf("nobody looks, and the stream was read %d times", calls)
	}
}

// calls is how often Redis has carried out a command.
func (p *plant) calls(command string) (n int) {
	text, err := p.c.Info(context.Background(), "commandstats").Result()
	if err != nil {
		p.t.Fatal(err)
	}
	for _, line := range strings.Split(text, "\n") {
		if rest, ok := strings.CutPrefix(line, "cmdstat_"+command+":calls="); ok {
			_, _ = fmt.Sscanf(rest, "%d", &n)
		}
	}
	return n
}

// A picture that is not live says so, and is not given to who wants a live one.
func TestStalePictures(t *testing.T) {
	p := newPlant(t)
	p.report(agent("cam1", "edge1", onRequest))
	p.report(agent("cam2", "edge1"))
	p.expose("cam1", 1, time.Hour)
	m := frame.Header{Camera: "cam1", Status: frame.StatusDropped, ID: frame.ID{Epoch: 1764, Seq: 2}}
	text, _ := json.Marshal(m)
	p.c.XAdd(t.Context(), &redis.XAddArgs{Stream: "frames:cam1", ID: "1764-2", Values: []any{"header", text, "image", ""}})
	url := p.serve()
	awaits(t, url, "cam1", "cam2")
	resp, body := get(t, url+"/cameras/cam1/latest.jpg")
	if resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(body, "the newest frame is 1 h old; this camera sends frames on request only") {
		t.Errorf("an old frame: got %d %s", resp.StatusCode, body)
	}
	resp, _ = get(t, url+"/cameras/cam1/latest.jpg?stale=1")
	if resp.StatusCode != http.StatusOK || resp.Header.Get("X-Frame-Id") != "1764-1" || resp.Header.Get("X-Stale") == "" {
		t.Errorf("an old frame is welcome: got %d %v", resp.StatusCode, resp.Header)
	}
	if resp, body = get(t, url+"/cameras/cam2/latest.jpg?stale=1"); resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(body, "there is no frame in frames:cam2 yet") {
		t.Errorf("without a frame: got %d %s", resp.StatusCode, body)
	}
}

// answering is an agent that answers requests.
func (p *plant) answering(name string) {
	requests := p.c.Subscribe(context.Background(), "request/"+name)
	if _, err := requests.Receive(context.Background()); err != nil {
		p.t.Fatal(err)
	}
	n := 100
	var running sync.WaitGroup
	running.Go(func() {
		for r := range requests.Channel() {
			n++
			p.c.Publish(context.Background(), "stream/"+name, message(p.t, name, n, 20*time.Millisecond, r.Payload).Wire())
		}
	})
	p.t.Cleanup(func() { _ = requests.Close(); running.Wait() })
}

// Without a stream a picture is what the camera publishes, or is asked for.
func TestPicturesOfPubSub(t *testing.T) {
	p := newPlant(t)
	p.report(agent("cam1", "edge1", onlyPublished, onRequest))
	p.report(agent("cam2", "edge1", onlyPublished))
	p.answering("cam1")
	n := 0
	p.keep(100*time.Millisecond, func() {
		n++
		p.c.Publish(context.Background(), "stream/cam2", message(t, "cam2", n, 0, "").Wire())
	})
	url := p.serve()
	awaits(t, url, "cam1", "cam2")
	for _, name := range []string{"cam1", "cam2"} {
		seen := map[string]bool{}
		testkit.Eventually(t, "pictures of "+name, func() bool {
			resp, body := get(t, url+"/cameras/"+name+"/latest.jpg")
			if resp.StatusCode != http.StatusOK {
				t.Log(body)
			}
			seen[resp.Header.Get("X-Frame-Id")] = resp.StatusCode == http.StatusOK
			return len(seen) >= 3
		})
	}
	testkit.Eventually(t, "an end of the subscriptions", func() bool {
		n, err := p.c.PubSubNumSub(t.Context(), "stream/cam1", "stream/cam2").Result()
		return err == nil && n["stream/cam1"] == 0 && n["stream/cam2"] == 0
	})
}

// A request goes through Redis, and its answer comes back.
func TestRequests(t *testing.T) {
	p := newPlant(t)
	p.report(agent("cam1", "edge1", onRequest))
	p.report(agent("cam2", "edge1", onRequest))
	p.answering("cam1")
	url := p.serve()
	awaits(t, url, "cam1", "cam2")
	resp, body := do(t, http.MethodPost, url+"/cameras/cam1/request", `{"angle":25.50}`)
	if resp.StatusCode != http.StatusOK || !bytes.HasPrefix([]byte(body), []byte{0xff, 0xd8}) || !strings.Contains(resp.Header.Get("X-Framekeeper-Header"), `"angle":25.50`) {
		t.Errorf("got %d, %d bytes, %v", resp.StatusCode, len(body), resp.Header)
	}
	resp, body = do(t, http.MethodPost, url+"/cameras/cam2/request", `{}`)
	if resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(body, "no cam-agent listens for cam2 on request/cam2") {
		t.Errorf("without an agent: got %d %s", resp.StatusCode, body)
	}
	resp, body = do(t, http.MethodPost, url+"/cameras/cam1/request", `nonsense`)
	if resp.StatusCode != http.StatusBadRequest {
		t.Errorf("nonsense: got %d %s", resp.StatusCode, body)
	}
}

// A right that is missing switches one thing off, and the page names it.
func TestMissingRights(t *testing.T) {
	p := newPlant(t)
	p.report(agent("cam1", "edge1"))
	p.expose("cam1", 1, 0)
	const yesterday = "on >word resetchannels %R~frames:cam1 %R~status:cam1 &stream/cam1 &status/cam1 &probe/client/* +subscribe +ping +get +pttl +xread +xlen +xrange +xrevrange +publish"
	if err := p.c.Do(t.Context(), toAny(append([]string{"acl", "setuser", "reader", "reset"}, strings.Fields(yesterday)...))...).Err(); err != nil {
		t.Fatal(err)
	}
	url := p.serve(func(o *Options) {
		o.Redis.Username, o.Redis.PasswordFile = "reader", testkit.SecretFile(t, "word")
		o.Cameras = []camera.Config{named("cam1"), named("cam2")}
	})
	awaits(t, url, "Discovery of cameras: Redis does not permit it", "Figures of the boxes: Redis does not permit it", "cam2", "Redis does not permit")
	p.expose("cam1", 2, 0)
	testkit.Eventually(t, "a picture", func() bool {
		p.report(agent("cam1", "edge1"))
		resp, _ := get(t, url+"/cameras/cam1/latest.jpg?stale=1")
		return resp.StatusCode == http.StatusOK
	})
	_, body := do(t, http.MethodPost, url+"/cameras/cam1/request", `{}`)
	if !strings.Contains(body, "Redis does not permit to publish on request/cam1") {
		t.Errorf("a request: got %s", body)
	}
	awaits(t, url+"/cameras/cam1", "Requests are off: Redis does not permit to publish on request/cam1.")
}

// The user of the documentation lacks nothing.
func TestDocumentedRights(t *testing.T) {
	p := newPlant(t)
	text, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rules, _ := strings.Cut(string(text), "ACL SETUSER viewer ")
	rules, _, _ = strings.Cut(rules, "\n")
	if err := p.c.Do(t.Context(), toAny(append([]string{"acl", "setuser", "viewer"}, words(rules)...))...).Err(); err != nil {
		t.Fatal(err)
	}
	p.report(agent("cam1", "edge1", onRequest))
	p.report(agent("cam2", "edge1", onlyPublished, onRequest))
	p.answering("cam1")
	p.answering("cam2")
	url := p.serve(func(o *Options) { o.Redis.Username, o.Redis.PasswordFile = "viewer", testkit.SecretFile(t, "PASSWORD") })
	p.keep(200*time.Millisecond, func() { p.measure("greenbox", "cam1") })
	page := awaits(t, url, "edge1", "cam2", "greenbox", "cam1")
	if strings.Contains(page, "does not permit") {
		t.Errorf("something is off:\n%s", page)
	}
	for _, r := range [][2]string{{http.MethodPost, "/cameras/cam1/request"}, {http.MethodGet, "/cameras/cam2/latest.jpg"}} {
		if resp, body := do(t, r[0], url+r[1], "{}"); resp.StatusCode != http.StatusOK {
			t.Errorf("%s: got %d %.200s", r, resp.StatusCode, body)
		}
	}
}

// words are those of rules for a user; what stands between parentheses is one.
func words(rules string) (all []string) {
	for rules != "" {
		end := strings.IndexByte(rules+" ", ' ')
		if rules[0] == '(' {
			end = strings.IndexByte(rules, ')') + 1
		}
		all = append(all, rules[:end])
		rules = strings.TrimLeft(rules[end:], " ")
	}
	return all
}

func toAny(all []string) (out []any) {
	for _, s := range all {
		out = append(out, s)
	}
	return out
}

func named(name string) camera.Config {
	c := camera.Default()
	c.Name = name
	c.FillNames()
	return c
}

// While Redis is away the page says so, and shows nothing as if it were of now.
func TestRedisGone(t *testing.T) {
	p := newPlant(t)
	p.report(agent("cam1", "edge1"))
	p.expose("cam1", 1, 0)
	url := p.serve()
	awaits(t, url, "cam1", "is healthy")
	p.redis.Kill()
	page := awaits(t, url, "Connection to Redis", "does not work", "What is shown below is what was known", "cam1", "has an unknown state")
	if strings.Contains(page, "is healthy") {
		t.Error("the page calls a camera healthy of which nothing is known")
	}
	resp, body := get(t, url+"/cameras/cam1/latest.jpg")
	if resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(body, "Redis is away") {
		t.Errorf("a picture: got %d %s", resp.StatusCode, body)
	}
	p.redis.Restart()
	stop := p.keep(500*time.Millisecond, func() {
		if p.c.Ping(context.Background()).Err() == nil {
			p.report(agent("cam1", "edge1"))
		}
	})
	awaits(t, url, "1 of 1 cameras", "is healthy")
	stop()
	p.expose("cam1", 2, 0)
	testkit.Eventually(t, "a picture again", func() bool {
		resp, _ := get(t, url+"/cameras/cam1/latest.jpg?stale=1")
		return resp.StatusCode == http.StatusOK
	})
}

// Only the cameras that are named are shown, also those that are not there.
func TestNamedCameras(t *testing.T) {
	p := newPlant(t)
	p.report(agent("cam1", "edge1"))
	p.report(agent("cam2", "edge1"))
	url := p.serve(func(o *Options) { o.Only = []string{"cam2", "cam9"} })
	page := awaits(t, url, "cam9", "is absent", "cam2", "is healthy")
	if strings.Contains(page, "cam1") {
		t.Error("the overview has a camera that was not named")
	}
	if !strings.Contains(page, "2 of 2 cameras") {
		t.Error("not two cameras")
	}
}

// queue and queueFrame are report and expose in a pipeline.
func (p *plant) queue(pipe redis.Pipeliner, a *status.Agent) {
	text, err := json.Marshal(a)
	if err != nil {
		p.t.Fatal(err)
	}
	pipe.Set(context.Background(), "status:"+a.Camera, text, time.Hour)
}

func (*plant) queueFrame(pipe redis.Pipeliner, m *frame.Message) {
	pipe.XAdd(context.Background(), &redis.XAddArgs{Stream: "frames:" + m.Header.Camera, ID: m.Header.ID.String(), Values: m.Entry()})
}

func (p *plant) tryPing() bool { return p.c.Ping(context.Background()).Err() == nil }

// tryExpose is expose with a Redis that may be killed meanwhile.
func (p *plant) tryExpose(name string, n int) {
	m := message(p.t, name, n, 0, "")
	p.c.XAdd(context.Background(), &redis.XAddArgs{Stream: "frames:" + name, ID: m.Header.ID.String(), Values: m.Entry()})
}
