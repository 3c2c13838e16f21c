package client

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"framekeeper/internal/cli"
	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/frame"
)

func TestRequestWritesTheImage(t *testing.T) {
	b := newBench(t, "stream", "greencam1")
	a := startAgent(t, b.redis, "greencam1", "stream")
	out := filepath.Join(t.TempDir(), "out.jpg")
	b.mustClient("request", "--set", "angle=25", "--set", `needle={"row":[1,2]}`, "--set", "note=a=b c", "--max-age", "1500us", "-o", out)
	want := imageOf(frame.ID{Epoch: 1000, Seq: 1})
	if got, err := os.ReadFile(out); err != nil || !bytes.Equal(got, want) {
		t.Errorf("image: got %d bytes, %v, want %d", len(got), err, len(want))
	}
	if left, err := os.ReadDir(filepath.Dir(out)); err != nil || len(left) != 1 {
		t.Errorf("directory: got %v, %v, want out.jpg alone", left, err)
	}
	line := b.stderr.String()
	for _, want := range []string{"greencam1 1000-1 jpeg 64x48", `"angle":25`, out, " ms,"} {
		if !strings.Contains(line, want) {
			t.Errorf("summary: got %q, want it to have %q", line, want)
		}
	}
	if n := strings.Count(line, "\n"); n != 1 || b.stdout.String() != "" {
		t.Errorf("output: got %d lines on stderr, %q on stdout, want one line, nothing", n, &b.stdout)
	}
	asked := a.asked[0]
	needle, _ := json.Marshal(asked["needle"])
	if asked["angle"] != 25.0 || string(needle) != `{"row":[1,2]}` || asked["note"] != "a=b c" || asked["max_age_ms"] != 1.5 {
		t.Errorf("request: got %v", asked)
	}
	if ms, _ := asked["timeout_ms"].(float64); ms < 3000 || ms > 4500 {
		t.Errorf("timeout_ms: got %v, want a little less than --timeout's 5 s", asked["timeout_ms"])
	}
}

func TestRequestToStdout(t *testing.T) {
	b := newBench(t, "pubsub", "greencam1", "redcam")
	startAgent(t, b.redis, "redcam", "pubsub")
	b.mustClient("request", "--camera", "redcam", "-o", "-")
	if got, want := b.stdout.String(), string(imageOf(frame.ID{Epoch: 1000, Seq: 1})); got != want {
		t.Errorf("stdout: got %d bytes, want the image's %d", len(got), len(want))
	}
	b.stdout = buffer{}
	b.mustClient("request", "--camera", "redcam", "--json")
	var h frame.Header
	if err := frame.Decode([]byte(b.stdout.String()), &h); err != nil || h.Camera != "redcam" || strings.Count(b.stdout.String(), "\n") != 1 {
		t.Errorf("--json: got %q, %v, want one header", &b.stdout, err)
	}
}

// A key that differs from "id" in its case is one of the sender's.
func TestRequestWithAnotherID(t *testing.T) {
	b := newBench(t, "pubsub", "greencam1")
	a := startAgent(t, b.redis, "greencam1", "pubsub")
	for _, value := range []any{7.0, "other"} {
		b.mustClient("request", "--set", fmt.Sprintf("ID=%v", value), "--timeout", "3s")
		if asked := a.asked[len(a.asked)-1]; asked["ID"] != value || asked["id"] == "" {
			t.Errorf("request: got %v, want ID %v beside the client's own id", asked, value)
		}
	}
}

func TestRequestRaw(t *testing.T) {
	const width, height = 3, 2
	pixels := make([]byte, width*height*3)
	h := frame.Header{Status: frame.StatusOK, Encoding: frame.Raw, PixelFormat: frame.PixelBGR24, Width: width, Height: height}
	m, err := frame.NewMessage(h, pixels)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, magic := range map[string]string{"a.png": "\x89PNG", "a.bmp": "BM", "a.raw": string(pixels), "a.jpg": ""} {
		path := filepath.Join(dir, name)
		err := writeImage(path, m, nil)
		got, _ := os.ReadFile(path)
		if magic == "" {
			if err == nil || got != nil {
				t.Errorf("%s: got %v and %d bytes, want it refused", name, err, len(got))
			}
		} else if err != nil || !strings.HasPrefix(string(got), magic) {
			t.Errorf("%s: got %.8q, %v, want it to begin with %q", name, got, err, magic)
		}
	}
}

func TestRequestFailsWithTheReason(t *testing.T) {
	b := newBench(t, "stream", "greencam1", "redcam")
	a := startAgent(t, b.redis, "greencam1", "stream")
	a.refuse = "camera stalled: no frame for 2s"
	out := filepath.Join(t.TempDir(), "out.jpg")
	for name, c := range map[string]struct {
		args []string
		want []string
	}{
		"error reply":       {[]string{"--camera", "greencam1", "-o", out}, []string{"greencam1", "camera stalled: no frame for 2s"}},
		"no agent":          {[]string{"--camera", "redcam", "-o", out}, []string{"no agent", "status:redcam"}},
		"unknown camera":    {[]string{"--camera", "nocam"}, []string{"nocam", "greencam1", "redcam"}},
		"camera left out":   {nil, []string{"--camera", "greencam1", "redcam"}},
		"set without value": {[]string{"--camera", "greencam1", "--set", "angle"}, []string{"--set", "KEY=VALUE"}},
		"own id":            {[]string{"--camera", "greencam1", "--set", "id=7"}, []string{"id"}},
		"no echo":           {[]string{"--camera", "greencam1", "--set", "angle=1e400"}, []string{"--set", "1e400 is beyond the range of a double"}},
		"no time":           {[]string{"--camera", "greencam1", "--timeout", "0s"}, []string{"--timeout"}},
		"json and image":    {[]string{"--camera", "greencam1", "--json", "-o", "-"}, []string{"--json", "-o"}},
	} {
		t.Run(name, func(t *testing.T) {
			wantFailure(t, b, c.want, append([]string{"request"}, c.args...)...)
			if _, err := os.Stat(out); err == nil {
				t.Errorf("%s was written", out)
			}
		})
	}
	a.with(func() { a.refuse, a.silent = "", true })
	wantFailure(t, b, []string{"no answer", "greencam1", "300ms"}, "request", "--camera", "greencam1", "--timeout", "300ms")
	a.with(func() { a.silent = false })
	wantFailure(t, b, []string{"write image", "/no/such/dir"}, "request", "--camera", "greencam1", "-o", "/no/such/dir/x.jpg")
}

func TestRequestWithoutRedis(t *testing.T) {
	addr := redistest.FreeAddr(t) // nobody will listen there
	b := &bench{t: t}
	b.configure("redis://"+addr, "stream", "greencam1")
	for _, command := range []string{"request", "status"} {
		args := []string{command}
		if command == "request" {
			args = append(args, "--timeout", "300ms")
		}
		began := time.Now()
		wantFailure(t, b, []string{addr, "refused"}, args...)
		if took := time.Since(began); took > statusTimeout+2*time.Second {
			t.Errorf("%s: took %s", command, took)
		}
	}
}

func wantFailure(t *testing.T, b *bench, want []string, args ...string) {
	t.Helper()
	err := b.client(t.Context(), args...)
	if err == nil {
		t.Errorf("client %q: got no error", args)
		return
	}
	line := cli.OneLine(err)
	for _, w := range want {
		if !strings.Contains(line, w) {
			t.Errorf("client %q: got %q, want it to have %q", args, line, w)
		}
	}
	if out := b.stdout.String() + b.stderr.String(); out != "" {
		t.Errorf("client %q printed %q, want nothing but the error", args, out)
	}
}
