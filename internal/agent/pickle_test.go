package agent

import (
	"bytes"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/redistest"
	"framekeeper/internal/testkit/striptest"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/frame/pickle"
)

// pickles are what a subscriber of the old system's wire hears.
type pickles struct {
	before, after, failure []byte // of every image; all of a failure

	mu       sync.Mutex // guards all below
	numbers  []uint64   // that the images bear
	failures int
	others   []string // what is no pickle
}

// hearPickles subscribes to images of width x height.
func hearPickles(t *testing.T, server *redistest.Server, width, height int) *pickles {
	t.Helper()
	image := bytes.Repeat([]byte("image"), width*height*3/5+1)[:width*height*3]
	whole, err := pickle.EncodeReply(frame.Header{Status: frame.StatusOK, Width: width, Height: height}, image)
	must(t, err)
	p := &pickles{}
	begin := bytes.Index(whole, image)
	p.before, p.after = whole[:begin], whole[begin+len(image):]
	p.failure, err = pickle.EncodeReply(frame.Header{Status: frame.StatusDropped}, nil)
	must(t, err)
	ps := server.Client().Subscribe(t.Context(), "stream/greencam1")
	_, err = ps.Receive(t.Context())
	must(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			m, err := ps.ReceiveMessage(t.Context())
			if err != nil {
				return
			}
			p.hear([]byte(m.Payload), width, height)
		}
	}()
	t.Cleanup(func() { _ = ps.Close(); <-done })
	return p
}

func (p *pickles) hear(payload []byte, width, height int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	image, isImage := bytes.CutPrefix(payload, p.before)
	switch {
	case bytes.Equal(payload, p.failure):
		p.failures++
	case isImage && bytes.HasSuffix(image, p.after):
		n, err := striptest.ReadNumber(bytes.TrimSuffix(image, p.after), width, height)
		if err != nil {
			p.others = append(p.others, err.Error())
		}
		p.numbers = append(p.numbers, n)
	default:
		p.others = append(p.others, string(payload[:min(len(payload), 80)]))
	}
}

func (p *pickles) heard() (numbers []uint64, failures int, others []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.numbers), p.failures, slices.Clone(p.others)
}

func heapMiB() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc >> 20)
}

// On the old system's wire an outage takes no more memory than on ours, and what was
// spooled, or lost from the spool, is published as pickles by the next start.
func TestPicklesSurviveAnOutage(t *testing.T) {
	testkit.NeedRedis(t)
	o := newOutage(t, "[delivery]\nmode = \"pubsub\"\nretain_bytes = \"2MiB\"\n",
		"source = \"test:\"\nwidth = 320\nheight = 240\npublish_fps = 20\nwire = \"pickle\"\n")
	heard := hearPickles(t, o.server, 320, 240)
	stop, _ := startAgent(t, o.config)
	testkit.Eventually(t, "pickles", func() bool { n, _, _ := heard.heard(); return len(n) > 5 })
	before := heapMiB()
	o.cut()
	testkit.Eventually(t, "an outage ten times as large as memory", func() bool { return len(spooled(t, o.spool)) > 90 })
	if more := heapMiB() - before; more > 12 {
		t.Errorf("the outage takes %d MiB of memory, with retain_bytes of 2 MiB", more)
	} else {
		t.Logf("the outage takes %d MiB of memory", more)
	}
	must(t, stop())

	files := o.files(t)
	cut(t, 5000, files[10], files[20])
	waiting, last := len(files), strings.TrimSuffix(filepath.Base(files[len(files)-1]), ".frame")
	numbers, _, _ := heard.heard()
	was := len(numbers)
	replaceIn(t, o.config, "publish_fps = 20", "publish_fps = 1") // a slow disk may lose some otherwise
	o.line.Accept()
	startAgent(t, o.config)
	testkit.Eventually(t, "what waited, all of it", func() bool { return !slices.Contains(spooled(t, o.spool), last) })
	var failures int
	var others []string
	numbers, failures, others = heard.heard()
	if len(others) > 0 {
		t.Errorf("%d messages are no pickles: %.5q", len(others), others)
	}
	if failures < 2 || len(numbers)-was < waiting-2 {
		t.Errorf("of %d frames that waited and 2 of them damaged: %d images and %d declarations", waiting, len(numbers)-was, failures)
	}
	if left, _ := filepath.Glob(filepath.Join(o.spool, "greencam1", "quarantine", "*")); len(left) != 2 {
		t.Errorf("%d damaged files are set aside, want 2", len(left))
	}
}
