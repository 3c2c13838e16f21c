package mjpeg

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"framekeeper/pkg/camera"
)

// split reads all JPEGs of r and the error at its end.
func split(r io.Reader) (jpegs [][]byte, s *Splitter, err error) {
	s = NewSplitter(r, nil)
	var buf []byte
	for {
		buf, _, err = s.Next(buf)
		if err != nil {
			return jpegs, s, err
		}
		jpegs = append(jpegs, slices.Clone(buf))
	}
}

// TestSplitter puts streams together and expects exactly the JPEGs in them,
// however the bytes arrive.
func TestSplitter(t *testing.T) {
	a, b, c := picture(t, 1, 64, 48), picture(t, 2, 80, 40), picture(t, 3, 40, 40)
	thumb := thumbnailed(a, picture(t, 4, 16, 16))
	stray := slices.Concat(a[:2], []byte{0, 'x', 0xff, 0, 0xff, 0xd0}, a[2:])
	restarts := slices.Insert(slices.Clone(b), len(b)-10, 0xff, 0xd3)
	scans := slices.Insert(slices.Clone(a), len(a)-2, // another scan, as in a progressive JPEG
		0xff, 0xc4, 0, 4, 0xff, 0xd9, 0xff, 0xda, 0, 3, 1, 7, 7, 7)
	parts := func(boundary, eol, extra string, jpegs ...[]byte) (stream []byte) {
		for _, j := range jpegs {
			stream = fmt.Appendf(stream, "%s%sContent-Type: image/jpeg%s%s%s", boundary, eol, eol, extra, eol)
			stream = append(append(stream, j...), eol...)
		}
		return append(stream, boundary+"--"...)
	}
	for _, test := range []struct {
		name   string
		stream []byte
		want   [][]byte
		broken uint64
	}{
		{name: "nothing"},
		{name: "one after the other", stream: slices.Concat(a, b, c), want: [][]byte{a, b, c}},
		{name: "thumbnail", stream: slices.Concat(thumb, b), want: [][]byte{thumb, b}},
		{name: "restart markers", stream: slices.Concat(restarts, a), want: [][]byte{restarts, a}},
		{name: "several scans", stream: slices.Concat(scans, b), want: [][]byte{scans, b}},
		{name: "fill bytes", stream: slices.Concat(a[:2], []byte{0xff, 0xff}, a[2:]), want: [][]byte{slices.Concat(a[:2], []byte{0xff, 0xff}, a[2:])}},
		{name: "junk between segments", stream: slices.Concat(stray, b, stray), want: [][]byte{stray, b, stray}},
		{name: "padding", stream: slices.Concat(a, make([]byte, 999), b, []byte{0xff, 0xff}, c), want: [][]byte{a, b, c}},
		{name: "begins in the middle", stream: slices.Concat(a[100:], b), want: [][]byte{b}},
		{name: "cut in the image", stream: slices.Concat(a[:len(a)-30], b, c), want: [][]byte{b, c}, broken: 1},
		{name: "cut in a segment", stream: slices.Concat(a[:20], b, c), want: [][]byte{c}, broken: 1}, // which b's beginning fills up
		{name: "cut in a marker", stream: slices.Concat(a[:3], b), want: [][]byte{b}, broken: 1},
		{name: "cut between segments", stream: slices.Concat(a[:2], []byte("\r\n--frame\r\n\r\n"), b), want: [][]byte{b}, broken: 1},
		{name: "header goes astray", stream: slices.Concat(a[:2], []byte("text"), b), want: [][]byte{b}, broken: 1},
		{name: "end without an image", stream: slices.Concat(a[:2], []byte{0xff, 0xd9}, b), want: [][]byte{b}, broken: 1},
		{name: "impossible length", stream: slices.Concat(a[:2], []byte{0xff, 0xe1, 0, 1}, b), want: [][]byte{b}, broken: 1},
		{name: "unfinished", stream: slices.Concat(a, b[:200]), want: [][]byte{a}},
		{name: "parts", stream: parts("--frame", "\r\n", "", a, b), want: [][]byte{a, b}},
		{name: "parts with lengths", stream: parts("\r\n--frame", "\r\n", "Content-Length: 400\r\n", a, b), want: [][]byte{a, b}}, // and wrong ones
		{name: "parts with bare line feeds", stream: parts("--frame", "\n", "X-Timestamp: 1.2\n", a, b), want: [][]byte{a, b}},
		{name: "parts with dashes too many", stream: parts("----frame", "\r\n", "", a, b, c), want: [][]byte{a, b, c}},
		{name: "parts with dashes too few", stream: parts("frame", "\r\n", "", a, b), want: [][]byte{a, b}},
		{name: "parts with a header of 100 KB", stream: parts("--x", "\r\n", "X: "+strings.Repeat("y", 100_000)+"\r\n", a, b), want: [][]byte{a, b}},
		{name: "a part cut short", stream: parts("--frame", "\r\n", "", a[:len(a)/2], b), want: [][]byte{b}, broken: 1},
	} {
		for how, reader := range map[string]func(io.Reader) io.Reader{
			"whole": func(r io.Reader) io.Reader { return r }, "byte by byte": iotest.OneByteReader, "halves": iotest.HalfReader,
			"error with the data": iotest.DataErrReader,
		} {
			t.Run(test.name+"/"+how, func(t *testing.T) {
				got, s, err := split(reader(bytes.NewReader(test.stream)))
				if !errors.Is(err, io.EOF) || s.Broken() != test.broken {
					t.Errorf("ended with %v and %d broken JPEGs, want EOF and %d", err, s.Broken(), test.broken)
				}
				if !slices.EqualFunc(got, test.want, bytes.Equal) {
					t.Errorf("got %d JPEGs, want %d, byte for byte", len(got), len(test.want))
				}
			})
		}
	}
}

func TestSplitterBounds(t *testing.T) {
	small, large := picture(t, 1, 16, 16), picture(t, 2, 200, 200)
	s := NewSplitter(bytes.NewReader(slices.Concat(small, large, small)), nil)
	s.limit = len(small)
	for n := range 2 {
		if got, _, err := s.Next(nil); err != nil || !bytes.Equal(got, small) {
			t.Fatalf("JPEG %d: %v, %d bytes", n, err, len(got))
		}
	}
	if s.Broken() != 1 {
		t.Errorf("%d broken JPEGs, want the one too large", s.Broken())
	}

	_, _, err := NewSplitter(endless("\x00\x00\x01\x67\xff\xd8 h264 "), nil).Next(nil)
	if !errors.Is(err, camera.ErrNoData) || !strings.Contains(err.Error(), "no JPEG in them") {
		t.Errorf("endless garbage gave %v", err)
	}
	if _, _, err = NewSplitter(stuck{}, nil).Next(nil); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("a reader that gives nothing gave %v", err)
	}
}

type endless string

func (e endless) Read(p []byte) (int, error) { return copy(p, e), nil }

type stuck struct{}

func (stuck) Read([]byte) (int, error) { return 0, nil }

// TestSplitterTellsWhenAJPEGBegan: the first byte counts, not the last.
func TestSplitterTellsWhenAJPEGBegan(t *testing.T) {
	a := picture(t, 1, 16, 16)
	reads := 0
	s := NewSplitter(iotest.OneByteReader(bytes.NewReader(slices.Concat(a, a))), func() time.Time {
		return time.Unix(int64(reads), 0)
	})
	s.r = counting{s.r, &reads}
	for n := range 2 {
		_, first, err := s.Next(nil)
		if want := int64(n*len(a) + 2); err != nil || first.Unix() != want { // the SOI is known with its second byte
			t.Fatalf("JPEG %d began with read %d, want %d; %v", n, first.Unix(), want, err)
		}
	}
}

type counting struct {
	r io.Reader
	n *int
}

func (c counting) Read(p []byte) (int, error) { *c.n++; return c.r.Read(p) }
