package pickle

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"runtime"
	"slices"
	"strings"
	"testing"

	"framekeeper/pkg/frame"
)

// readReplies loads one base64 pickle a line and says what Python makes of it.
const readReplies = `
import base64, hashlib, json, pickle, sys
import numpy
for line in sys.stdin:
    d = pickle.loads(base64.b64decode(line))
    out = {"keys": list(d), "status": d["status"], "rest": {k: repr(v) for k, v in d.items() if k not in ("image", "status")}}
    i = d["image"]
    if isinstance(i, numpy.ndarray):
        out["shape"], out["dtype"] = i.shape, str(i.dtype)
        out["contiguous"] = bool(i.flags["C_CONTIGUOUS"])
        out["sha"] = hashlib.sha256(i.tobytes()).hexdigest()
        out["corner"] = [int(x) for x in i[-1, 1]]
        i[0, 0] = 7  # raises if the array is read-only
    else:
        out["image"] = repr(i)
    print(json.dumps(out))
`

type readReply struct {
	Keys       []string
	Status     string
	Rest       map[string]string
	Shape      []int
	Dtype      string
	Contiguous bool
	SHA        string
	Corner     []int
	Image      string
}

func loadReplies(t *testing.T, replies ...[]byte) []readReply {
	t.Helper()
	var in bytes.Buffer
	for _, r := range replies {
		fmt.Fprintln(&in, base64.StdEncoding.EncodeToString(r))
	}
	dec := json.NewDecoder(bytes.NewReader(python(t, readReplies, in.Bytes())))
	got := make([]readReply, len(replies))
	for i := range got {
		if err := dec.Decode(&got[i]); err != nil {
			t.Fatalf("reply %d: %v", i, err)
		}
	}
	return got
}

func mustReply(t *testing.T, h frame.Header, bgr []byte) []byte {
	t.Helper()
	reply, err := EncodeReply(h, bgr)
	if err != nil {
		t.Fatalf("EncodeReply: %v", err)
	}
	return reply
}

func TestPickleReplyIsWhatPythonExpects(t *testing.T) {
	const width, height = 5, 3
	bgr := make([]byte, width*height*3)
	for i := range bgr {
		bgr[i] = byte(i * 5)
	}
	request := json.RawMessage(`{"angle":25,"image":"mine","z":[1,2.5,{"deep":[null,true,false]}],"status":"mine","a":"hä\n😀"}`)
	got := loadReplies(t,
		mustReply(t, frame.Header{Status: frame.StatusOK, Width: width, Height: height, Request: request}, bgr),
		mustReply(t, frame.Header{Status: frame.StatusError, Error: "stalled", Request: request}, nil),
		mustReply(t, frame.Header{Status: frame.StatusOK, Width: width, Height: height}, bgr),
		mustReply(t, frame.Header{Status: frame.StatusError}, nil),
	)
	rest := map[string]string{"angle": "25", "z": "[1, 2.5, {'deep': [None, True, False]}]", "a": `'hä\n😀'`}
	for i, g := range got {
		if wantStatus := []string{"True", "False"}[i%2]; g.Status != wantStatus {
			t.Errorf("reply %d: status %q, want %q", i, g.Status, wantStatus)
		}
		wantKeys := []string{"image", "status"}
		if i < 2 {
			wantKeys = append(wantKeys, "angle", "z", "a")
			for k, want := range rest {
				if g.Rest[k] != want {
					t.Errorf("reply %d: %s = %s, want %s", i, k, g.Rest[k], want)
				}
			}
		}
		if !slices.Equal(g.Keys, wantKeys) {
			t.Errorf("reply %d: keys %q, want %q", i, g.Keys, wantKeys)
		}
		if i%2 == 1 {
			if g.Image != "''" {
				t.Errorf("reply %d: image %s, want ''", i, g.Image)
			}
			continue
		}
		last := bgr[((height-1)*width+1)*3:][:3]
		corner := []int{int(last[0]), int(last[1]), int(last[2])}
		if !slices.Equal(g.Shape, []int{height, width, 3}) || g.Dtype != "uint8" || !g.Contiguous || !slices.Equal(g.Corner, corner) {
			t.Errorf("reply %d: array %v %s contiguous %v corner %v, want [3 5 3] uint8 true %v", i, g.Shape, g.Dtype, g.Contiguous, g.Corner, corner)
		}
		if want := sha(bgr); g.SHA != want {
			t.Errorf("reply %d: pixels have sha %s, want %s", i, g.SHA, want)
		}
	}
}

func TestPickleReplyNumbers(t *testing.T) {
	numbers := []string{
		"0", "-0", "1", "-1", "255", "256", "2147483647", "-2147483648", "2147483648", "-2147483649",
		"9223372036854775807", "-9223372036854775808", "18446744073709551616", "-18446744073709551616",
		"128", "-128", "-129", "32768", "-32768", "-32769", "25.0", "-0.0", "1e5", "1E-7", "0.1", "1e999", "-1e999", "1e-999",
		new(big.Int).Exp(big.NewInt(7), big.NewInt(2000), nil).String(),
		"-" + new(big.Int).Exp(big.NewInt(7), big.NewInt(2000), nil).String(),
	}
	request := json.RawMessage(`{"n":[` + strings.Join(numbers, ",") + `]}`)
	reply := mustReply(t, frame.Header{Status: frame.StatusError, Request: request}, nil)
	got := loadReplies(t, reply)[0].Rest["n"]
	want := strings.TrimSpace(string(python(t, "import json,sys; print(repr(json.load(sys.stdin)['n']))", request)))
	if got != want {
		t.Errorf("numbers:\n got %s\nwant %s", got, want)
	}
}

// A request of the legacy wire comes back in the reply as Python sent it.
func TestPickleRequestRoundTrip(t *testing.T) {
	made := python(t, `import pickle,sys; sys.stdout.buffer.write(pickle.dumps({"angle": 25, "exact": 25.0, "who": "ä", "big": 2**70, "l": [1, [2]]}))`, nil)
	r, err := ParseRequest(made)
	if err != nil {
		t.Fatal(err)
	}
	got := loadReplies(t, mustReply(t, frame.Header{Status: frame.StatusError, Request: r.Object}, nil))[0].Rest
	want := map[string]string{"angle": "25", "exact": "25.0", "who": "'ä'", "big": "1180591620717411303424", "l": "[1, [2]]"}
	for k := range want {
		if got[k] != want[k] {
			t.Errorf("%s came back as %s, want %s", k, got[k], want[k])
		}
	}
}

func TestPickleReplyRefuses(t *testing.T) {
	ok := frame.Header{Status: frame.StatusOK, Width: 2, Height: 2}
	for name, tt := range map[string]struct {
		h    frame.Header
		bgr  []byte
		says string
	}{
		"short image":   {ok, make([]byte, 11), "image of 11 bytes, expected 2 x 2"},
		"no image":      {ok, nil, "image of 0 bytes"},
		"no size":       {frame.Header{Status: frame.StatusOK}, nil, "0 x 0"},
		"negative size": {frame.Header{Status: frame.StatusOK, Width: -2, Height: -2}, make([]byte, 12), "-2 x -2"},
		"overflow":      {frame.Header{Status: frame.StatusOK, Width: 1 << 62, Height: 4}, nil, "pixels of 3"},
		"list":          {frame.Header{Status: frame.StatusError, Request: json.RawMessage(`[1]`)}, nil, "not a JSON object"},
		"broken":        {frame.Header{Status: frame.StatusError, Request: json.RawMessage(`{"a":`)}, nil, "not a JSON object"},
		"deep":          {frame.Header{Status: frame.StatusError, Request: json.RawMessage(strings.Repeat("[", 40) + strings.Repeat("]", 40))}, nil, "nested deeper than 32"},
	} {
		reply, err := EncodeReply(tt.h, tt.bgr)
		if err == nil || reply != nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: got %d bytes and error %v, want an error saying %q", name, len(reply), err, tt.says)
		}
	}
}

func TestPickleReplyCopiesTheImageOnce(t *testing.T) {
	h := frame.Header{Status: frame.StatusOK, Width: 1280, Height: 720, Request: json.RawMessage(`{"angle":25}`)}
	bgr := make([]byte, h.Width*h.Height*3)
	used := allocated(t, func() {
		if _, err := EncodeReply(h, bgr); err != nil {
			t.Fatal(err)
		}
	})
	if limit := uint64(len(bgr) + 64<<10); used > limit {
		t.Errorf("one reply with %d bytes of image allocates %d, want at most %d", len(bgr), used, limit)
	}
}

// allocated is how many bytes one call of f allocates, the least of a few
// tries, because other goroutines of the test binary allocate too.
func allocated(t *testing.T, f func()) uint64 {
	t.Helper()
	least := uint64(1 << 63)
	for range 5 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		least = min(least, after.TotalAlloc-before.TotalAlloc)
	}
	return least
}

func sha(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }
