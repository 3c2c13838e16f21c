package mjpeg

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/iotest"

	"framekeeper/pkg/camera"
)

// FuzzSplitter: whatever comes, the pieces it comes in make no difference,
// every byte is at most once in a JPEG, and all JPEGs are in the stream.
func FuzzSplitter(f *testing.F) {
	a, b := picture(f, 1, 16, 16), picture(f, 2, 24, 8)
	f.Add(slices.Concat(a, b))
	f.Add(slices.Concat(a[:len(a)/2], b, []byte("--x\r\n\r\n"), a))
	f.Add(slices.Concat(thumbnailed(a, b), a[:3], b))
	f.Add([]byte("\xff\xd8\xff\xda\x00\x02\xff\xd9\xff\xd8\xff\xda\x00\x03\x00\xff\x00\xff\xd0\xff\xff\xd9"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		got, s, err := split(bytes.NewReader(stream))
		if !errors.Is(err, io.EOF) && !errors.Is(err, camera.ErrNoData) {
			t.Fatalf("ended with %v", err)
		}
		for name, r := range map[string]io.Reader{
			"byte by byte": iotest.OneByteReader(bytes.NewReader(stream)), "halves": &pieces{stream, 7},
		} {
			again, s2, err2 := split(r)
			if !slices.EqualFunc(got, again, bytes.Equal) || s.Broken() != s2.Broken() || err.Error() != err2.Error() {
				t.Fatalf("%s: %d JPEGs, %d broken, %v; in one piece %d, %d, %v",
					name, len(again), s2.Broken(), err2, len(got), s.Broken(), err)
			}
		}
		rest := stream
		for _, j := range got {
			at := bytes.Index(rest, j)
			if at < 0 || !bytes.HasPrefix(j, []byte{0xff, 0xd8}) || !bytes.HasSuffix(j, []byte{0xff, 0xd9}) {
				t.Fatalf("a JPEG of %d bytes that is not in the stream", len(j))
			}
			rest = rest[at+len(j):]
		}
	})
}

// FuzzParts: no text around whole JPEGs, in whatever pieces, hides one.
func FuzzParts(f *testing.F) {
	f.Add("--frame\r\nContent-Type: image/jpeg\r\nContent-Length: 12\r\n\r\n", "\r\n", uint8(9))
	f.Add("\nframe\n\n", "", uint8(200))
	a, b := picture(f, 1, 16, 16), thumbnailed(picture(f, 2, 24, 8), picture(f, 3, 8, 8))
	f.Fuzz(func(t *testing.T, before, after string, piece uint8) {
		if bytes.Contains([]byte(before), []byte{0xff}) || bytes.Contains([]byte(after), []byte{0xff}) || len(before)+len(after) > maxGarbage/8 {
			t.Skip("not text")
		}
		var stream []byte
		want := [][]byte{a, b, a}
		for _, j := range want {
			stream = append(append(append(stream, before...), j...), after...)
		}
		got, s, err := split(&pieces{stream, int(piece) + 1})
		if !errors.Is(err, io.EOF) || s.Broken() != 0 || !slices.EqualFunc(got, want, bytes.Equal) {
			t.Fatalf("%d JPEGs, %d broken, %v", len(got), s.Broken(), err)
		}
	})
}

// pieces reads n bytes at a time.
type pieces struct {
	rest []byte
	n    int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), p.n)], p.rest)
	p.rest = p.rest[n:]
	return n, nil
}
