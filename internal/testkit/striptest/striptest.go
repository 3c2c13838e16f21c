// Package striptest reads the strip that the source "test:" draws into every
// frame (see testsrc): its number and the instant of its rendering. Only tests
// import it; it reads the documented format and shares no code with what draws it.
package striptest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"time"
)

// ErrNoStrip is returned for an image without a readable strip.
var ErrNoStrip = errors.New("no readable strip in the image")

// Stamp is the content of a strip. Numbers rise in the order of exposure within
// one opening of the source; Captured (to the microsecond) also across them.
type Stamp struct {
	Number   uint64
	Captured time.Time
}

// ReadNumber reads the frame number from rows of BGR24 pixels without padding.
func ReadNumber(bgr []byte, w, h int) (uint64, error) {
	s, err := ReadStamp(bgr, w, h)
	return s.Number, err
}

// ReadStamp reads number and time from rows of BGR24 pixels without padding.
func ReadStamp(bgr []byte, w, h int) (Stamp, error) {
	if w < 0 || h < 0 || len(bgr) != w*h*3 {
		return Stamp{}, fmt.Errorf("%w: %d bytes are not %dx%d pixels of BGR24", ErrNoStrip, len(bgr), w, h)
	}
	return read(w, h, func(x, y int) int {
		p := bgr[(y*w+x)*3:]
		return (int(p[0]) + int(p[1]) + int(p[2])) / 3
	})
}

// ReadImage reads number and time from a decoded image.
func ReadImage(m image.Image) (Stamp, error) {
	b := m.Bounds()
	return read(b.Dx(), b.Dy(), func(x, y int) int {
		r, g, bl, _ := m.At(b.Min.X+x, b.Min.Y+y).RGBA()
		return int(r>>8+g>>8+bl>>8) / 3
	})
}

// read uses only the inner part of each block: its rim is where compression smears.
func read(w, h int, brightness func(x, y int) int) (Stamp, error) {
	const columns, rows = 16, 10
	block := 8
	if w < 160 || h < 120 {
		block = 4
	}
	if w < 64 || h < 40 {
		return Stamp{}, fmt.Errorf("%w: %dx%d is below 64x40", ErrNoStrip, w, h)
	}
	var code [columns * rows / 8]byte
	for i := range columns * rows {
		x0, y0 := i%columns*block, i/columns*block
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
		return Stamp{}, fmt.Errorf("%w: wrong checksum", ErrNoStrip)
	}
	return Stamp{
		Number:   binary.BigEndian.Uint64(code[0:]),
		Captured: time.UnixMicro(int64(binary.BigEndian.Uint64(code[8:]))),
	}, nil
}
