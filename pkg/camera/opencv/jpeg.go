//go:build !noopencv

package opencv

import (
	"fmt"

	"gocv.io/x/gocv"

	"framekeeper/pkg/camera"
)

// maxJPEGSide is the largest width or height a JPEG can have.
const maxJPEGSide = 65500

var _ camera.JPEGFunc = EncodeJPEG

// EncodeJPEG appends the JPEG of a BGR24 frame to dst. Everything OpenCV would
// answer with a C++ exception, which ends the process, is refused before.
func EncodeJPEG(dst []byte, f *camera.Frame, quality int) ([]byte, error) {
	if f.Format != camera.BGR24 || f.Width < 1 || f.Height < 1 || f.Width > maxJPEGSide || f.Height > maxJPEGSide ||
		len(f.Data) != f.Width*f.Height*3 {
		return nil, fmt.Errorf("encode JPEG: %v frame of %dx%d with %d bytes, expected bgr24 with %d",
			f.Format, f.Width, f.Height, len(f.Data), f.Width*f.Height*3)
	}
	// The Mat borrows f.Data, nothing is copied; it ends before this function
	// does, and Go's heap does not move.
	mat, err := gocv.NewMatFromBytes(f.Height, f.Width, gocv.MatTypeCV8UC3, f.Data)
	if err != nil {
		return nil, fmt.Errorf("encode JPEG: %w", err)
	}
	buf, err := gocv.IMEncodeWithParams(gocv.JPEGFileExt, mat, []int{gocv.IMWriteJpegQuality, min(max(quality, 1), 100)})
	if err == nil {
		dst = append(dst, buf.GetBytes()...)
		buf.Close()
	}
	if cerr := mat.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, fmt.Errorf("encode JPEG: %w", err)
	}
	return dst, nil
}
