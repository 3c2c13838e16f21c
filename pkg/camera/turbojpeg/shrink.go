//go:build !noopencv

package turbojpeg

/*
#include <string.h>
#include <turbojpeg.h>

// shrink decodes a JPEG to BGR in dst, which has room for it at that size. It
// returns 0, or 1 with the reason in why. A warning is no failure: libjpeg-turbo
// shows what there is of an image with a damaged end.
static int shrink(const unsigned char *src, unsigned long n, unsigned char *dst, int w, int h, char *why, int room) {
	tjhandle handle = tjInitDecompress();
	int failed = 1;
	if (handle != NULL)
		failed = tjDecompress2(handle, src, n, dst, w, 0, h, TJPF_BGR, TJFLAG_FASTDCT) != 0 && tjGetErrorCode(handle) != TJERR_WARNING;
	if (failed) {
		strncpy(why, tjGetErrorStr2(handle), room - 1);
		why[room - 1] = 0;
	}
	if (handle != NULL)
		tjDestroy(handle);
	return failed;
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

// Shrink decodes a JPEG to BGR24 with its sides at eighths/8, rounded up, over dst,
// which it grows as needed: libjpeg-turbo leaves out the coefficients that the
// smaller image has no pixels for. It is a camera.ShrinkFunc.
func Shrink(dst, jpeg []byte, eighths int) (bgr []byte, width, height int, err error) {
	j, err := camera.InspectJPEG(jpeg)
	if err != nil {
		return nil, 0, 0, fmt.Errorf("shrink JPEG: %w", err)
	}
	if eighths < 1 || eighths > 8 {
		return nil, 0, 0, fmt.Errorf("shrink JPEG: to %d eighths, expected 1 to 8", eighths)
	}
	width, height = (j.Width*eighths+7)/8, (j.Height*eighths+7)/8
	size := width * height * 3
	dst = slices.Grow(dst[:0], size)[:size]
	why := make([]byte, 200)
	if C.shrink((*C.uchar)(unsafe.SliceData(j.Data)), C.ulong(len(j.Data)), (*C.uchar)(unsafe.SliceData(dst)), C.int(width), C.int(height),
		(*C.char)(unsafe.Pointer(unsafe.SliceData(why))), C.int(len(why))) != 0 {
		text, _, _ := bytes.Cut(why, []byte{0})
		return nil, 0, 0, fmt.Errorf("shrink JPEG: libjpeg-turbo: %s", text)
	}
	return dst, width, height, nil
}
