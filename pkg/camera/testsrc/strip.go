package testsrc

import (
	"encoding/binary"
	"hash/crc32"
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

func drawStrip(bgr []byte, w, h int, number uint64, at time.Time) {
	block, _ := stripSize(w, h)
	if block == 0 {
		return
	}
	var code [stripColumns * stripRows / 8]byte
	binary.BigEndian.PutUint64(code[0:], number)
	binary.BigEndian.PutUint64(code[8:], uint64(at.UnixMicro()))
	binary.BigEndian.PutUint32(code[16:], crc32.ChecksumIEEE(code[:16]))
	for i := range stripColumns * stripRows {
		v := byte(0)
		if code[i/8]>>(7-i%8)&1 == 1 {
			v = 0xff
		}
		fill(bgr, w, i%stripColumns*block, i/stripColumns*block, block, v)
	}
}
