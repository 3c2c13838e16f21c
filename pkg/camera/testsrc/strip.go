package testsrc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"time"
)

// The strip lies in the top left corner: 160 black (0) and white (1) blocks in
// 10 rows of 16, most significant bit first: the frame number (64 bits), the
// Unix microseconds at which rendering began (64), and the CRC-32 (IEEE) of
// these 16 bytes (32). Blocks are 8 pixels wide and high in images of at least
// 160x120, so that each is one block of a JPEG; 4 in images of at least
// MinWidth x MinHeight. Smaller images have no strip.
const (
	MinWidth  = 64
	MinHeight = 40

	stripColumns = 16
	stripRows    = 10
)

// stripCode is the bits of a strip.
type stripCode [stripColumns * stripRows / 8]byte

// ErrNoNumber is returned for an image without a readable strip.
var ErrNoNumber = errors.New("no readable frame number in the image")

// Stamp is what a strip says. Numbers rise in the order of exposure within one
// opening of the source; Captured (to the microsecond) also across them.
type Stamp struct {
	Number   uint64
	Captured time.Time
}

// stripSize is the side of a block and the height of the strip, 0 without one.
func stripSize(w, h int) (block, height int) {
	switch {
	case w >= 160 && h >= 120:
		block = 8
	case w >= MinWidth && h >= MinHeight:
		block = 4
	}
	return block, block * stripRows
}

// drawStrip draws s; code is scratch space.
func drawStrip(bgr []byte, w, h int, s Stamp, code *stripCode) {
	block, _ := stripSize(w, h)
	if block == 0 {
		return
	}
	binary.BigEndian.PutUint64(code[0:], s.Number)
	binary.BigEndian.PutUint64(code[8:], uint64(s.Captured.UnixMicro()))
	binary.BigEndian.PutUint32(code[16:], crc32.ChecksumIEEE(code[:16]))
	for i := range stripColumns * stripRows {
		v := byte(0)
		if code[i/8]>>(7-i%8)&1 == 1 {
			v = 0xff
		}
		fill(bgr, w, i%stripColumns*block, i/stripColumns*block, block, v)
	}
}

// ReadNumber reads the frame number from rows of BGR24 pixels without padding.
func ReadNumber(bgr []byte, w, h int) (uint64, error) {
	s, err := ReadStamp(bgr, w, h)
	return s.Number, err
}

// ReadStamp reads number and time from rows of BGR24 pixels without padding.
func ReadStamp(bgr []byte, w, h int) (Stamp, error) {
	if w < 0 || h < 0 || len(bgr) != w*h*3 {
		return Stamp{}, fmt.Errorf("%w: %d bytes are not %dx%d pixels of BGR24", ErrNoNumber, len(bgr), w, h)
	}
	return readStrip(w, h, func(x, y int) int {
		p := bgr[(y*w+x)*3:]
		return (int(p[0]) + int(p[1]) + int(p[2])) / 3
	})
}

// ReadImage reads number and time from a decoded image.
func ReadImage(m image.Image) (Stamp, error) {
	b := m.Bounds()
	return readStrip(b.Dx(), b.Dy(), func(x, y int) int {
		r, g, bl, _ := m.At(b.Min.X+x, b.Min.Y+y).RGBA()
		return int(r>>8+g>>8+bl>>8) / 3
	})
}

// readStrip asks only for the inner part of each block: its rim is where
// compression smears.
func readStrip(w, h int, brightness func(x, y int) int) (Stamp, error) {
	block, _ := stripSize(w, h)
	if block == 0 {
		return Stamp{}, fmt.Errorf("%w: %dx%d is below %dx%d", ErrNoNumber, w, h, MinWidth, MinHeight)
	}
	var code stripCode
	for i := range stripColumns * stripRows {
		x0, y0 := i%stripColumns*block, i/stripColumns*block
		sum, n := 0, 0
		for y := y0 + block/4; y < y0+block-block/4; y++ {
			for x := x0 + block/4; x < x0+block-block/4; x++ {
				sum += brightness(x, y)
				n++
			}
		}
		if sum >= 128*n {
			code[i/8] |= 1 << (7 - i%8)
		}
	}
	if crc32.ChecksumIEEE(code[:16]) != binary.BigEndian.Uint32(code[16:]) {
		return Stamp{}, fmt.Errorf("%w: wrong checksum", ErrNoNumber)
	}
	return Stamp{
		Number:   binary.BigEndian.Uint64(code[0:]),
		Captured: time.UnixMicro(int64(binary.BigEndian.Uint64(code[8:]))),
	}, nil
}
