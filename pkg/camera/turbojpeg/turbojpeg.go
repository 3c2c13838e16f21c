//go:build !noopencv

// Package turbojpeg makes JPEGs with libjpeg-turbo, the fastest way there is on
// a box without special hardware. It promises JPEGs that go straight from the
// frame's bytes into the caller's buffer, YUYV without a detour through BGR, and
// an error for every frame whose bytes contradict its fields. A build with the tag
// noopencv is without it. The agent uses it.
package turbojpeg

/*
#cgo CFLAGS: -O3
#cgo pkg-config: libturbojpeg
#include <stdlib.h>
#include <string.h>
#include <turbojpeg.h>

// Webcams send YUYV in video range (luma 16 to 235, chroma 16 to 240), JPEG
// wants 0 to 255. Grey stays 128. Everything fits in 16 bits without a sign,
// which lets the compiler do many at once.
static inline unsigned char luma(int v) {
	v = v < 16 ? 16 : v > 235 ? 235 : v;
	return (unsigned short)((v - 16) * 298 + 128) >> 8;
}
static inline unsigned char chroma(int v) {
	v = v < 16 ? 16 : v > 240 ? 240 : v;
	return (unsigned short)((v - 16) * 291 + 176) >> 8;
}

// split turns YUYV into planes of 4:2:0: the chroma of two rows becomes their
// mean. An odd last row stands for itself and for the one below it, which the
// planes have room for.
static void split(const unsigned char *src, int w, int h,
		unsigned char *restrict y, unsigned char *restrict u, unsigned char *restrict v) {
	for (int row = 0; row < h; row += 2, y += 2 * w, u += w / 2, v += w / 2) {
		const unsigned char *upper = src + (size_t)row * w * 2;
		const unsigned char *lower = row + 1 < h ? upper + w * 2 : upper;
		for (int x = 0; x < w; x++)
			y[x] = luma(upper[2 * x]);
		for (int x = 0; x < w; x++)
			y[w + x] = luma(lower[2 * x]);
		for (int x = 0; x < w / 2; x++) {
			u[x] = chroma((upper[4 * x + 1] + lower[4 * x + 1] + 1) / 2);
			v[x] = chroma((upper[4 * x + 3] + lower[4 * x + 3] + 1) / 2);
		}
	}
}

// encode writes a JPEG of 4:2:0 to dst, which has room for size bytes, and
// returns its length, or 0 with the reason in dst, ended by a zero. planes is
// room to split YUYV in; NULL says that src is BGR. A compressor costs 0.1 µs to
// make, so none is kept.
static unsigned long encode(const unsigned char *src, unsigned char *planes, int w, int h, int quality,
		unsigned char *dst, unsigned long size) {
	const int flags = TJFLAG_NOREALLOC | TJFLAG_ACCURATEDCT; // accurate costs 1 % more
	unsigned long n = size;
	int failed = 1;
	tjhandle handle = tjInitCompress();
	if (handle != NULL && planes == NULL) {
		failed = tjCompress2(handle, src, w, 0, h, TJPF_BGR, &dst, &n, TJSAMP_420, quality, flags);
	} else if (handle != NULL) {
		size_t all = (size_t)w * (h + h % 2);
		const unsigned char *p[3] = {planes, planes + all, planes + all + all / 4};
		split(src, w, h, planes, planes + all, planes + all + all / 4);
		failed = tjCompressFromYUVPlanes(handle, p, w, NULL, h, TJSAMP_420, &dst, &n, quality, flags);
	}
	if (failed) {
		strncpy((char *)dst, tjGetErrorStr2(handle), size - 1);
		dst[size - 1] = 0;
		n = 0;
	}
	if (handle != NULL)
		tjDestroy(handle);
	return n;
}
*/
import "C"

import (
	"bytes"
	"fmt"
	"slices"
	"unsafe"

	"framekeeper/pkg/camera"
)

// Encoder encodes frames. The zero value is ready; it has a scratch buffer
// and is for one goroutine at a time.
type Encoder struct {
	planes []byte // a YUYV frame taken apart
}

// Encode appends the JPEG of a BGR24 or YUYV frame, with chroma of 4:2:0, to
// dst and returns the extended slice. YUYV is taken for BT.601 in video range,
// as webcams send it. It is a camera.JPEGFunc.
func (e *Encoder) Encode(dst []byte, f *camera.Frame, quality int) ([]byte, error) {
	if err := f.Check(); err != nil {
		return nil, fmt.Errorf("encode JPEG: %w", err)
	}
	var planes *byte
	switch f.Format {
	case camera.BGR24:
	case camera.YUYV:
		planes = e.scratch(f.Width * (f.Height + f.Height%2) * 3 / 2)
	default:
		return nil, fmt.Errorf("encode JPEG: %v frame, expected bgr24 or yuyv", f.Format)
	}
	size := C.tjBufSize(C.int(f.Width), C.int(f.Height), C.TJSAMP_420)
	dst = slices.Grow(dst, int(size)) // the worst case, so that the C side never reallocates
	room := dst[len(dst) : len(dst)+int(size)]
	n := C.encode((*C.uchar)(&f.Data[0]), (*C.uchar)(planes), C.int(f.Width), C.int(f.Height),
		C.int(min(max(quality, 1), 100)), (*C.uchar)(unsafe.SliceData(room)), size)
	if n == 0 {
		why, _, _ := bytes.Cut(room, []byte{0})
		return nil, fmt.Errorf("encode JPEG: libjpeg-turbo: %s", why)
	}
	return dst[:len(dst)+int(n)], nil
}

// scratch is room for n bytes, kept from frame to frame.
func (e *Encoder) scratch(n int) *byte {
	if cap(e.planes) < n {
		e.planes = make([]byte, n)
	}
	return unsafe.SliceData(e.planes)
}
