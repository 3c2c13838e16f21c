package pickle

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"os/exec"
	"strings"
	"testing"
	"time"

	"framekeeper/pkg/frame"
)

// debianPython is the interpreter that python3-numpy is installed for.
const debianPython = "/usr/bin/python3"

// python runs a script with input on its standard input and returns its output.
func python(t *testing.T, script string, input []byte) []byte {
	t.Helper()
	if out, err := exec.Command(debianPython, "-c", "import numpy").CombinedOutput(); err != nil {
		t.Skipf("%s with numpy is needed (apt install python3-numpy): %v %s", debianPython, err, out)
	}
	cmd := exec.Command(debianPython, "-c", script)
	cmd.Stdin = bytes.NewReader(input)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("python: %v\n%s", err, stderr.Bytes())
	}
	return out
}

// Python pickles each value in every protocol and says what it should read as.
const pickleEverything = `
import base64, collections, json, pickle
shared = [1, 2]
inner = {"k": shared}
long_text = "x" * 700
cases = [
  {}, {"angle": 25}, {"angle": 25.0, "f": 1e300, "g": -0.1, "h": 1e22},
  {"i": [0, 1, -1, 255, 256, 65535, 65536, -2**31, 2**31-1, 2**31, 2**63, -2**63, -2**64, 10**50, -10**50, 128, -128, -129]},
  {"big": 2**990, "negative": -2**990},
  {"t": True, "f": False, "n": None},
  {"s": "", "q": "it's \"quoted\" \\ \n \r \t \x00 \x1a", "u": "h\u00e4 \u2603 \U0001f600", "long": long_text, "esc": "\\u0041"},
  {"tuples": (), "one": (1,), "two": (1, 2), "three": (1, 2, 3), "four": (1, 2, 3, (4,))},
  {"a": shared, "b": shared, "c": [shared, shared], "d": inner, "e": inner},
  {"many": list(range(1500)), "dict": {str(i): i for i in range(1500)}},
  {"bytes": b"abc", "empty": b"", "latin": b"\xff\x00\n", "utf8": "\u00e4".encode(), "again": [b"abc", b"abc"]},
  {"id": "r-1", "timeout_ms": 250, "max_age_ms": 10.5},
  {"nested": [[[{"x": [{}, [], ()]}]]]},
]
def plain(v):
    if isinstance(v, bytes):
        try: return v.decode()
        except UnicodeDecodeError: return v.decode("latin1")
    if isinstance(v, dict): return {k: plain(x) for k, x in v.items()}
    if isinstance(v, (list, tuple)): return [plain(x) for x in v]
    return v
for c in cases:
    for p in range(6):
        for maker in (pickle.dumps, pickle._dumps):
            print(json.dumps([p, base64.b64encode(maker(c, p)).decode(), json.dumps(plain(c))]))
`

func TestParseRequestFromPython(t *testing.T) {
	lines := bytes.Split(bytes.TrimSpace(python(t, pickleEverything, nil)), []byte("\n"))
	if len(lines) != 13*6*2 {
		t.Fatalf("python made %d pickles, want %d", len(lines), 13*6*2)
	}
	for _, line := range lines {
		var parts []any
		if err := json.Unmarshal(line, &parts); err != nil {
			t.Fatal(err)
		}
		protocol, want := parts[0], parts[2].(string)
		data, err := base64.StdEncoding.DecodeString(parts[1].(string))
		if err != nil {
			t.Fatal(err)
		}
		r, err := ParseRequest(data)
		if err != nil {
			t.Errorf("protocol %v of %.200s: %v", protocol, want, err)
			continue
		}
		if got, want := canonical(t, r.Object), canonical(t, []byte(want)); got != want {
			t.Errorf("protocol %v:\n got %.300s\nwant %.300s", protocol, got, want)
		}
		if strings.Contains(want, "r-1") && (r.ID != "r-1" || r.Timeout != 250*time.Millisecond || r.MaxAge != 10500*time.Microsecond) {
			t.Errorf("protocol %v: reserved keys read as %q, %s, %s", protocol, r.ID, r.Timeout, r.MaxAge)
		}
	}
}

// canonical is JSON with sorted keys, one spelling per string and floats as
// Go writes them, but ints still distinguished from floats.
func canonical(t *testing.T, data []byte) string {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		t.Fatalf("decode %.200s: %v", data, err)
	}
	out, err := json.Marshal(spellNumbers(v))
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func spellNumbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if strings.ContainsAny(string(v), ".eE") {
			f, _ := v.Float64()
			return map[string]any{"float": f}
		}
		n, _ := new(big.Int).SetString(string(v), 10)
		return n.String()
	case []any:
		for i := range v {
			v[i] = spellNumbers(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = spellNumbers(v[k])
		}
	}
	return v
}

// What Python 2 wrote; there is none left on Debian to ask.
func TestParseRequestFromPython2(t *testing.T) {
	for name, tt := range map[string]struct{ pickle, want string }{
		"protocol 0":       {"(dp0\nS'angle'\np1\nI25\nsS'b'\nI01\nsS'l'\nL12345678901234567890L\ns.", `{"angle":25,"b":true,"l":12345678901234567890}`},
		"protocol 0 text":  {"(dp0\nS'q'\nS\"it's \\\\ \\x00 \\n \\101 \\z\"\nsS'u'\nVh\xe4 \\u2603 \\ud83d\\ude00\ns.", `{"q":"it's \\ \u0000 \n A \\z","u":"hä ☃ 😀"}`},
		"protocol 1":       {"}q\x00(U\x05angleq\x01G\x40\x39\x00\x00\x00\x00\x00\x00U\x01fI00\nu.", `{"angle":25.0,"f":false}`},
		"protocol 2":       {"\x80\x02}q\x00(U\x05angleK\x19U\x01l\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x80\x00X\x01\x00\x00\x00u\x88u.", `{"angle":25,"l":9223372036854775808,"u":true}`},
		"latin-1 and long": {"\x80\x02}(U\x01sU\x02\xe4\xf6T\x01\x00\x00\x00tT\x02\x00\x00\x00\xc3\xa4u.", `{"s":"äö","t":"ä"}`},
	} {
		r, err := ParseRequest([]byte(tt.pickle))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if got, want := canonical(t, r.Object), canonical(t, []byte(tt.want)); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}

func TestParseRequestTakesJSON(t *testing.T) {
	r, err := ParseRequest([]byte(" {\"angle\": 25, \"id\": \"x\"}\n"))
	if err != nil || string(r.Object) != `{"angle":25,"id":"x"}` || r.ID != "x" {
		t.Errorf("got %s, %q, %v", r.Object, r.ID, err)
	}
	for _, bad := range []string{`[1]`, `25`, `null`, `"x"`, ` true`} {
		if _, err := ParseRequest([]byte(bad)); err == nil || !strings.Contains(err.Error(), "expected one object") {
			t.Errorf("%s: got error %v, want the JSON one", bad, err)
		}
	}
}

func TestParseRequestKeepsOrderAndLastValue(t *testing.T) {
	r, err := ParseRequest([]byte("}(X\x01\x00\x00\x00zK\x01X\x01\x00\x00\x00aK\x02X\x01\x00\x00\x00zK\x03u."))
	if want := `{"z":3,"a":2}`; err != nil || string(r.Object) != want {
		t.Errorf("got %s, %v; want %s", r.Object, err, want)
	}
}

func FuzzParsePickleRequest(f *testing.F) {
	for _, seed := range []string{
		"(dp0\nS'angle'\np1\nI25\ns.", "}q\x00(U\x05angleq\x01G\x40\x39\x00\x00\x00\x00\x00\x00u.",
		"\x80\x02}q\x00(X\x05\x00\x00\x00angleK\x19X\x01\x00\x00\x00l\x8a\x02\xff\x80u.", `{"angle":25}`,
		"\x80\x04\x95\x11\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x05angle\x94]\x94(K\x01\x88\x89Nes.",
		"}X\x01\x00\x00\x00ac_codecs\nencode\n(V\\u00ff\nX\x06\x00\x00\x00latin1tRs.", "cos\nsystem\n(S'id'\ntR.",
		"}VA\\u0041\\ud83d\\ude00\nF1.5\nsVl\n(lp3\nL12L\nag3\ns.",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ParseRequest(data)
		if err != nil {
			if !errors.Is(err, frame.ErrRequest) {
				t.Fatalf("error %v is no frame.ErrRequest", err)
			}
			if len(err.Error()) > 1000 {
				t.Fatalf("error of %d bytes", len(err.Error()))
			}
			return
		}
		again, err := frame.ParseRequest(r.Object)
		if err != nil || again.ID != r.ID || again.Timeout != r.Timeout || again.MaxAge != r.MaxAge || !bytes.Equal(again.Object, r.Object) {
			t.Fatalf("accepted as %s, which reads as %+v, %v", r.Object, again, err)
		}
		// What was accepted can be echoed, and the echo reads as the same request.
		reply, err := EncodeReply(frame.Header{Status: frame.StatusError, Request: r.Object}, nil)
		if err != nil {
			t.Fatalf("echo of %s: %v", r.Object, err)
		}
		if _, err := load(reply); err != nil && !strings.Contains(err.Error(), "a float that is") { // JSON allows 1e999
			t.Fatalf("echo of %s does not unpickle: %v", r.Object, err)
		}
	})
}
