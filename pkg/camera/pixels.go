package camera

import (
	"fmt"
	"image"
	"image/draw"
)

// maxSide bounds what is decoded or encoded, as width and height are bounded
// in the configuration.
const maxSide = 16384

// Check refuses a frame whose bytes contradict its fields, so that the
// loops of encoders and those below need not check. Of a JPEG it checks the
// beginning only.
func (f *Frame) Check() error {
	if f.Width < 1 || f.Height < 1 || f.Width > maxSide || f.Height > maxSide {
		return fmt.Errorf("frame of %dx%d pixels: expected 1 to %d each way", f.Width, f.Height, maxSide)
	}
	want := 0
	switch f.Format {
	case BGR24:
		want = f.Width * f.Height * 3
	case YUYV:
		if f.Width%2 != 0 {
			return fmt.Errorf("yuyv frame of odd width %d", f.Width)
		}
		want = f.Width * f.Height * 2
	case MJPEG:
		if len(f.Data) < 4 || f.Data[0] != 0xff || f.Data[1] != 0xd8 {
			return fmt.Errorf("mjpeg frame of %d bytes is not a JPEG", len(f.Data))
		}
		return nil
	default:
		return fmt.Errorf("frame of unknown pixel format %d", f.Format)
	}
	if len(f.Data) != want {
		return fmt.Errorf("%v frame of %dx%d has %d bytes, expected %d", f.Format, f.Width, f.Height, len(f.Data), want)
	}
	return nil
}

// grow returns a slice of n bytes, b's own array if that is large enough.
func grow(b []byte, n int) []byte {
	if cap(b) < n {
		return make([]byte, n)
	}
	return b[:n]
}

func clamp8(v int32) byte {
	return byte(min(max(v, 0), 255))
}

// yuyvToBGR converts BT.601 video range, which is what webcams send, into dst,
// which has room for it.
func yuyvToBGR(dst, src []byte) {
	for i, o := 0, 0; i+4 <= len(src) && o+6 <= len(dst); i, o = i+4, o+6 {
		u, v := int32(src[i+1])-128, int32(src[i+3])-128
		b, g, r := 516*u+128, -100*u-208*v+128, 409*v+128
		y := 298 * (int32(src[i]) - 16)
		dst[o], dst[o+1], dst[o+2] = clamp8((y+b)>>8), clamp8((y+g)>>8), clamp8((y+r)>>8)
		y = 298 * (int32(src[i+2]) - 16)
		dst[o+3], dst[o+4], dst[o+5] = clamp8((y+b)>>8), clamp8((y+g)>>8), clamp8((y+r)>>8)
	}
}

// bgrToRGBA fills an opaque RGBA image of the same size.
func bgrToRGBA(dst, src []byte) {
	for i, o := 0, 0; i+3 <= len(src) && o+4 <= len(dst); i, o = i+3, o+4 {
		d, s := dst[o:o+4:o+4], src[i:i+3:i+3]
		d[0], d[1], d[2], d[3] = s[2], s[1], s[0], 255
	}
}

// bgrToYCbCr fills an image of 4:2:0 with JPEG's full-range colours, the form
// image/jpeg encodes without converting pixel by pixel.
func bgrToYCbCr(dst *image.YCbCr, src []byte, w, h int) {
	for y := 0; y < h; y += 2 {
		upper := src[y*w*3 : (y+1)*w*3]
		lower := upper
		yUpper := dst.Y[y*dst.YStride:]
		yLower := yUpper // written twice with the same values in an odd last row
		if y+1 < h {
			lower = src[(y+1)*w*3 : (y+2)*w*3]
			yLower = dst.Y[(y+1)*dst.YStride:]
		}
		chroma := y / 2 * dst.CStride
		for x := 0; x < w; x += 2 {
			right := min(x+1, w-1) // the last column stands for itself when w is odd
			b, g, r := int32(0), int32(0), int32(0)
			for _, at := range [2]int{x, right} {
				p, q := upper[at*3:at*3+3:at*3+3], lower[at*3:at*3+3:at*3+3]
				yUpper[at], yLower[at] = luma(p[0], p[1], p[2]), luma(q[0], q[1], q[2])
				b += int32(p[0]) + int32(q[0])
				g += int32(p[1]) + int32(q[1])
				r += int32(p[2]) + int32(q[2])
			}
			// 4 pixels are summed, so the coefficients are shifted by 18, not 16.
			dst.Cb[chroma+x/2] = clamp8((-11059*r-21709*g+32768*b)>>18 + 128)
			dst.Cr[chroma+x/2] = clamp8((32768*r-27439*g-5329*b)>>18 + 128)
		}
	}
}

// yuyvToYCbCr fills an image of 4:2:0 from BT.601 video range: luma 16 to 235
// and chroma 16 to 240 become 0 to 255, and the chroma of two rows their mean.
func yuyvToYCbCr(dst *image.YCbCr, src []byte, w, h int) {
	for y := 0; y < h; y += 2 {
		upper := src[y*w*2 : (y+1)*w*2]
		lower := upper
		yUpper := dst.Y[y*dst.YStride:]
		yLower := yUpper // written twice with the same values in an odd last row
		if y+1 < h {
			lower = src[(y+1)*w*2 : (y+2)*w*2]
			yLower = dst.Y[(y+1)*dst.YStride:]
		}
		yUpper, yLower = yUpper[:w], yLower[:w]
		cb, cr := dst.Cb[y/2*dst.CStride:][:w/2], dst.Cr[y/2*dst.CStride:][:w/2]
		for i := range cb {
			p, q := upper[i*4:i*4+4:i*4+4], lower[i*4:i*4+4:i*4+4]
			yUpper[2*i], yUpper[2*i+1] = fullLuma(p[0]), fullLuma(p[2])
			yLower[2*i], yLower[2*i+1] = fullLuma(q[0]), fullLuma(q[2])
			cb[i], cr[i] = fullChroma(p[1], q[1]), fullChroma(p[3], q[3])
		}
	}
}

func fullLuma(v byte) byte {
	return byte(((uint32(min(max(v, 16), 235))-16)*298 + 128) >> 8)
}

// fullChroma is of the mean of two; 128, which is no colour, stays 128.
func fullChroma(a, b byte) byte {
	mean := (uint32(a) + uint32(b) + 1) / 2
	return byte(((min(max(mean, 16), 240)-16)*291 + 176) >> 8)
}

// luma is BT.601's Y in full range, in 16-bit fixed point.
func luma(b, g, r byte) byte {
	return byte((19595*uint32(r) + 38470*uint32(g) + 7471*uint32(b) + 1<<15) >> 16)
}

// imageToBGR converts a decoded image of any colour model into dst, which has room
// for it, row by row so that no second image is needed.
func imageToBGR(dst []byte, m image.Image) {
	b := m.Bounds()
	row := image.NewRGBA(image.Rect(0, 0, b.Dx(), 1))
	for y := range b.Dy() {
		draw.Draw(row, row.Rect, m, image.Pt(b.Min.X, b.Min.Y+y), draw.Src)
		out := dst[y*b.Dx()*3:]
		for i, o := 0, 0; i+4 <= len(row.Pix); i, o = i+4, o+3 {
			d, s := out[o:o+3:o+3], row.Pix[i:i+4:i+4]
			d[0], d[1], d[2] = s[2], s[1], s[0]
		}
	}
}
