package v4l2

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"framekeeper/pkg/camera"
)

// layout is a pixel format that can be turned into a camera.Frame's cheaply.
type layout struct {
	code  fourCC
	out   camera.PixelFormat
	bytes int                   // of a pixel; 0: compressed
	row   func(dst, src []byte) // converts a row; nil: it is taken as it is
}

// layouts are in the order of preference when size and rate do not decide.
func layouts() []layout {
	return []layout{
		{code: makeFourCC("MJPG"), out: camera.MJPEG},
		{code: makeFourCC("JPEG"), out: camera.MJPEG},
		{code: makeFourCC("YUYV"), out: camera.YUYV, bytes: 2},
		{code: makeFourCC("UYVY"), out: camera.YUYV, bytes: 2, row: swapPairs},
		{code: makeFourCC("YVYU"), out: camera.YUYV, bytes: 2, row: shuffle(0, 3, 2, 1)},
		{code: makeFourCC("VYUY"), out: camera.YUYV, bytes: 2, row: shuffle(1, 2, 3, 0)},
		{code: makeFourCC("BGR3"), out: camera.BGR24, bytes: 3},
		{code: makeFourCC("RGB3"), out: camera.BGR24, bytes: 3, row: swapRedAndBlue},
		{code: makeFourCC("GREY"), out: camera.BGR24, bytes: 1, row: greyToBGR},
	}
}

func layoutOf(code fourCC) (layout, bool) {
	all := layouts()
	i := slices.IndexFunc(all, func(l layout) bool { return l.code == code })
	if i < 0 {
		return layout{}, false
	}
	return all[i], true
}

// rowBytes is the length of a row of w pixels without padding.
func (l layout) rowBytes(w int) int { return w * l.bytes }

// need is how many bytes an image takes whose rows begin stride bytes apart;
// the padding of the last one may be missing.
func (l layout) need(w, h, stride int) int { return stride*(h-1) + l.rowBytes(w) }

// copyRows writes the image over dst, growing it as needed, without the
// padding between rows. src is at least need bytes long.
func (l layout) copyRows(dst, src []byte, w, h, stride int) []byte {
	in := l.rowBytes(w)
	if l.row == nil && stride == in {
		return append(dst[:0], src[:in*h]...)
	}
	out := in
	if l.out == camera.BGR24 {
		out = 3 * w
	}
	dst = slices.Grow(dst[:0], out*h)[:out*h]
	for y := range h {
		from, to := src[y*stride:][:in], dst[y*out:][:out]
		if l.row == nil {
			copy(to, from)
		} else {
			l.row(to, from)
		}
	}
	return dst
}

// shuffle makes rows of YUYV from a packed 4:2:2 of another order: y0, u, y1, v
// are their positions in its four bytes.
func shuffle(y0, u, y1, v int) func(dst, src []byte) {
	return func(dst, src []byte) {
		for i := 0; i+4 <= len(src) && i+4 <= len(dst); i += 4 {
			s, d := src[i:i+4:i+4], dst[i:i+4:i+4]
			d[0], d[1], d[2], d[3] = s[y0&3], s[u&3], s[y1&3], s[v&3]
		}
	}
}

// swapPairs makes YUYV of UYVY, which frame grabbers send, eight bytes at a time.
func swapPairs(dst, src []byte) {
	const low = 0x00ff00ff00ff00ff
	n := min(len(src), len(dst))
	i := 0
	for ; i+8 <= n; i += 8 {
		v := binary.LittleEndian.Uint64(src[i:])
		binary.LittleEndian.PutUint64(dst[i:], v>>8&low|v&low<<8)
	}
	for ; i+2 <= n; i += 2 {
		dst[i], dst[i+1] = src[i+1], src[i]
	}
}

func swapRedAndBlue(dst, src []byte) {
	for i := 0; i+3 <= len(src) && i+3 <= len(dst); i += 3 {
		dst[i], dst[i+1], dst[i+2] = src[i+2], src[i+1], src[i]
	}
}

func greyToBGR(dst, src []byte) {
	for i, v := range src {
		d := dst[3*i : 3*i+3 : 3*i+3]
		d[0], d[1], d[2] = v, v, v
	}
}

// checkImage refuses a granted format whose images could not be read.
func (l layout) checkImage(w, h, stride int) error {
	const maxSide = 16384
	switch {
	case w < 1 || h < 1 || w > maxSide || h > maxSide:
		return fmt.Errorf("%s of %dx%d, expected 1 to %d each way", l.code, w, h, maxSide)
	case l.out == camera.YUYV && w%2 != 0:
		return fmt.Errorf("%s of odd width %d", l.code, w)
	case l.bytes > 0 && (stride < l.rowBytes(w) || stride > 1<<20):
		return fmt.Errorf("%s with rows of %d bytes, expected %d or a little more", l.code, stride, l.rowBytes(w))
	}
	return nil
}

// fourCC is the kernel's name of a pixel format, first letter lowest.
type fourCC uint32

func makeFourCC(s string) fourCC {
	return fourCC(s[0]) | fourCC(s[1])<<8 | fourCC(s[2])<<16 | fourCC(s[3])<<24
}

// String is the four letters; a big-endian format has -BE behind it.
func (c fourCC) String() string {
	const bigEndian = 1 << 31
	letters := [4]byte{byte(c), byte(c >> 8), byte(c >> 16), byte(c &^ bigEndian >> 24)}
	for i, b := range letters {
		if b < ' ' || b > '~' {
			letters[i] = '?'
		}
	}
	name := strings.TrimRight(string(letters[:]), " ")
	if c&bigEndian != 0 {
		name += "-BE"
	}
	return name
}
