package frame

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

func pointer[T any](v T) *T { return &v }

// samples holds one message of each kind, with every key its kind can have.
func samples() map[string]struct {
	header Header
	image  []byte
} {
	return map[string]struct {
		header Header
		image  []byte
	}{
		"ok_jpeg": {Header{
			Camera: "greencam1", ID: ID{1700000000, 42}, Status: StatusOK, Encoding: JPEG, Width: 1280, Height: 720,
			CapturedUS: 1700000001000000, RequestedUS: 1700000000990000, PublishedUS: 1700000001004000, SensorSeq: 99,
			Request: json.RawMessage(`{"angle":25,"id":"r-1","note":"<ä> & \n"}`),
		}, []byte("\xff\xd8 not really\na jpeg \xff\xd9")},
		"ok_raw": {Header{
			Camera: "greencam1", ID: ID{1700000000, 43}, Status: StatusOK, Encoding: Raw, PixelFormat: PixelBGR24, Width: 2, Height: 1,
			CapturedUS: 1700000001033000, PublishedUS: 1700000001037000,
		}, []byte{1, 2, 3, '\n', 5, 6}},
		"error": {Header{
			Camera: "greencam1", Status: StatusError, Error: "timed out after 1s", RequestedUS: 1700000002000000,
			PublishedUS: 1700000003000000, Request: json.RawMessage(`{"angle":50}`),
		}, nil},
		"dropped": {Header{
			Camera: "greencam1", ID: ID{1700000000, 70}, Status: StatusDropped, First: ID{1700000000, 51}, Last: ID{1700000000, 70},
			Count: 20, Reason: "spool full", PublishedUS: 1700000004000000,
		}, nil},
		"started": {Header{
			Camera: "greencam1", ID: ID{1700000100, 0}, Status: StatusStarted, Previous: pointer(ID{1700000000, 70}), Clean: pointer(true),
			PublishedUS: 1700000100000000,
		}, nil},
		"started_first": {Header{
			Camera: "greencam1", ID: ID{1700000000, 0}, Status: StatusStarted, Previous: pointer(ID{}), Clean: pointer(false),
			PublishedUS: 1700000000000000,
		}, nil},
	}
}

// The wire is a promise to readers in other languages; a change of it must show up here.
func TestMessageGolden(t *testing.T) {
	for name, s := range samples() {
		t.Run(name, func(t *testing.T) {
			m, err := NewMessage(s.header, s.image)
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", name+".golden")
			if *update {
				if err := os.WriteFile(file, m.Wire(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatalf("%v (run with -update to make it)", err)
			}
			if !bytes.Equal(m.Wire(), want) {
				t.Errorf("wire of %s:\n got %q\nwant %q", name, m.Wire(), want)
			}
			read, err := ParseMessage(want)
			if err != nil {
				t.Fatalf("parse: %v", err)
			}
			if !reflect.DeepEqual(read.Header, m.Header) || !bytes.Equal(read.Image(), s.image) {
				t.Errorf("read back:\n got %+v %q\nwant %+v %q", read.Header, read.Image(), m.Header, s.image)
			}
		})
	}
}

func TestMessageParts(t *testing.T) {
	for name, s := range samples() {
		m, err := NewMessage(s.header, s.image)
		if err != nil {
			t.Fatal(err)
		}
		head, image, ok := bytes.Cut(m.Wire(), []byte("\n"))
		if !ok || !bytes.Equal(head, m.HeaderJSON()) || !bytes.Equal(image, m.Image()) || m.Size() != len(m.Wire()) {
			t.Errorf("%s: the first newline splits into %q and %q, want %q and %q", name, head, image, m.HeaderJSON(), m.Image())
		}
		joined, err := ParseEntry(map[string]any{"header": string(m.HeaderJSON()), "image": string(m.Image())})
		if err != nil || !bytes.Equal(joined.Wire(), m.Wire()) || !reflect.DeepEqual(joined.Header, m.Header) {
			t.Errorf("%s: ParseEntry gave %+v, %v; want the message again", name, joined, err)
		}
	}
}

func TestNewMessageFillsBytesAndChecksum(t *testing.T) {
	m, err := NewMessage(Header{Status: StatusOK, Bytes: 99}, []byte("123456789"))
	if err != nil {
		t.Fatal(err)
	}
	// e3069283 is the check value every description of CRC-32C gives for "123456789".
	if m.Header.Bytes != 9 || m.Header.CRC32C != "e3069283" {
		t.Errorf("got %d bytes, crc32c %s; want 9, e3069283", m.Header.Bytes, m.Header.CRC32C)
	}
	given, err := NewMessage(Header{Status: StatusOK, CRC32C: "00000001"}, []byte("x"))
	if err != nil || given.Header.CRC32C != "00000001" {
		t.Errorf("a checksum that was given became %q, %v", given.Header.CRC32C, err)
	}
	if empty, err := NewMessage(Header{Status: StatusError}, nil); err != nil || empty.Header.CRC32C != "" {
		t.Errorf("no image got checksum %q, %v; want none", empty.Header.CRC32C, err)
	}
}

func TestNewMessageRefuses(t *testing.T) {
	for name, h := range map[string]Header{
		"broken request": {Status: StatusOK, Request: json.RawMessage(`{"a":`)},
		"huge error":     {Status: StatusError, Error: strings.Repeat("x", MaxHeader)},
	} {
		if m, err := NewMessage(h, nil); err == nil || m != nil {
			t.Errorf("%s: got %v and no error, want an error", name, m)
		}
	}
	largest := `{"a":"` + strings.Repeat("<", MaxRequestBytes-8) + `"}`
	r, err := ParseRequest([]byte(largest))
	if err != nil {
		t.Fatal(err)
	}
	m, err := NewMessage(Header{Status: StatusOK, Request: r.Object}, []byte("image"))
	if err != nil {
		t.Fatalf("the largest request cannot be echoed: %v", err)
	}
	if _, err := ParseMessage(m.Wire()); err != nil {
		t.Errorf("the largest echo cannot be read: %v", err)
	}
}

func TestParseMessageRefuses(t *testing.T) {
	good, err := NewMessage(Header{Camera: "c", Status: StatusOK}, []byte("image"))
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(good.Wire())
	flipped[len(flipped)-1] ^= 1
	for name, tt := range map[string]struct {
		data []byte
		want error
		says string
	}{
		"empty":        {nil, ErrNoHeader, ""},
		"no newline":   {good.HeaderJSON(), ErrNoHeader, ""},
		"far newline":  {append(bytes.Repeat([]byte(" "), MaxHeader), '\n'), ErrNoHeader, ""},
		"cut short":    {good.Wire()[:len(good.Wire())-1], ErrLength, "4 bytes, header says 5"},
		"too long":     {append(bytes.Clone(good.Wire()), 'x'), ErrLength, "6 bytes, header says 5"},
		"flipped":      {flipped, ErrChecksum, ""},
		"no JSON":      {[]byte("hello\nimage"), nil, "parse header"},
		"other status": {[]byte(`{"status":"late"}` + "\n"), nil, `status "late", expected ok, error, dropped or started`},
		"null":         {[]byte("null\n"), nil, `status ""`},
		"negative":     {[]byte(`{"status":"ok","bytes":-1}` + "\n"), nil, "negative size"},
		"bad id":       {[]byte(`{"status":"ok","id":"7"}` + "\n"), ErrID, ""},
	} {
		_, err := ParseMessage(tt.data)
		if err == nil || (tt.want != nil && !errors.Is(err, tt.want)) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: got error %v, want %v saying %q", name, err, tt.want, tt.says)
		}
	}
	if _, err := ParseEntry(map[string]any{"header": "{\"status\":\"ok\"\n}"}); !errors.Is(err, ErrNoHeader) {
		t.Errorf("a header of two lines: got error %v, want %v", err, ErrNoHeader)
	}
	if _, err := ParseEntry(map[string]any{"header": strings.Repeat(" ", MaxHeader)}); !errors.Is(err, ErrNoHeader) {
		t.Errorf("a huge header: got error %v, want %v", err, ErrNoHeader)
	}
}

func TestParseHeaderIgnoresUnknownKeys(t *testing.T) {
	h, err := ParseHeader([]byte(`{"status":"ok","id":"3-4","later":{"x":[1]},"camera":"c"}`))
	if err != nil || h.Camera != "c" || h.ID != (ID{3, 4}) {
		t.Errorf("got %+v, %v", h, err)
	}
}

func TestNewMessageCopiesTheImageOnce(t *testing.T) {
	image := bytes.Repeat([]byte{0xab}, 3<<20)
	h := Header{Camera: "c", Status: StatusOK, Request: json.RawMessage(`{"angle":25}`)}
	build := func() {
		if _, err := NewMessage(h, image); err != nil {
			t.Fatal(err)
		}
	}
	if used, limit := allocated(t, build), uint64(len(image)+64<<10); used > limit {
		t.Errorf("a message of %d bytes allocates %d, want at most %d", len(image), used, limit)
	}
	if n := testing.AllocsPerRun(20, build); n > 20 {
		t.Errorf("a message takes %v allocations, want at most 20", n)
	}
}

func TestParseMessageCopiesNoImage(t *testing.T) {
	m, err := NewMessage(Header{Status: StatusOK}, make([]byte, 3<<20))
	if err != nil {
		t.Fatal(err)
	}
	used := allocated(t, func() {
		if _, err := ParseMessage(m.Wire()); err != nil {
			t.Fatal(err)
		}
	})
	if used > 64<<10 {
		t.Errorf("reading a message allocates %d bytes, want at most 64 KiB", used)
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
