package testsrc

import (
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
	"strconv"
	"time"
)

// pattern renders frames: a copy of a prepared background, a bar that moves
// with the frame number, and on top the text and the strip.
type pattern struct {
	w, h       int
	background []byte
	bar        []byte // one row of the bar
	barTop     int    // the bar stays below strip and text
	textY      int
	scale      int    // of the font; 0: no room for text
	line       []byte // scratch for the text
}

const timeLayout = "2006-01-02 15:04:05.000"

func newPattern(w, h int) *pattern {
	p := &pattern{w: w, h: h, background: weave(w, h)}
	p.bar = make([]byte, max(2, w/40)*3)
	for i := range p.bar {
		p.bar[i] = 0xf0
	}
	p.bar = p.bar[:min(len(p.bar), w*3)]

	if _, height := stripSize(w, h); height > 0 {
		p.barTop = height
	}
	scale := max(1, w/320)
	margin := 2 * scale
	boxW := len(timeLayout)*glyphStep*scale + 2*margin
	boxH := 2*(glyphHeight+2)*scale + 2*margin
	if boxW <= w && p.barTop+boxH <= h {
		p.scale, p.textY = scale, p.barTop+margin
		darken(p.background, w, 0, p.barTop, boxW, boxH)
		p.barTop += boxH
	}
	return p
}

// weave is a still image with about the detail of knitted fabric, so that its
// JPEG is about as large as a real frame's. It is the same at every start.
func weave(w, h int) []byte {
	rnd := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, 0, w*h*3)
	for y := range h {
		for x := range w {
			stitch := 3 * (abs(x%12-6) + abs((y+x/12%2*5)%10-5))
			v := 60 + 70*x/w + 40*y/h + stitch + rnd.IntN(24)
			b = append(b, byte(v), byte(v*7/8), byte(v*5/8+20*(x/160%2)))
		}
	}
	return b
}

func abs(v int) int { return max(v, -v) }

func darken(b []byte, w, x, y, boxW, boxH int) {
	for row := y; row < y+boxH; row++ {
		clear(b[(row*w+x)*3 : (row*w+x+boxW)*3])
	}
}

// render draws a frame into buf's array if it is large enough.
func (p *pattern) render(buf []byte, number uint64, at time.Time) []byte {
	buf = append(buf[:0], p.background...)
	// The position wraps; a bar is cut at the right edge.
	x := int(number*uint64(max(1, p.w/128))%uint64(p.w)) * 3
	bar := p.bar[:min(len(p.bar), p.w*3-x)]
	for y := p.barTop; y < p.h; y++ {
		copy(buf[y*p.w*3+x:], bar)
	}
	if p.scale > 0 {
		p.line = append(p.line[:0], '#')
		p.line = strconv.AppendUint(p.line, number, 10)
		p.text(buf, p.textY)
		p.line = at.AppendFormat(p.line[:0], timeLayout)
		p.text(buf, p.textY+(glyphHeight+2)*p.scale)
	}
	drawStrip(buf, p.w, p.h, number, at)
	return buf
}

// text draws p.line in white; pixels outside the image are left out.
func (p *pattern) text(buf []byte, y int) {
	x := 2 * p.scale
	for _, c := range p.line {
		if x+glyphWidth*p.scale > p.w {
			return
		}
		for row, bits := range glyphs[c] {
			for col := range glyphWidth {
				if bits>>(glyphWidth-1-col)&1 == 1 {
					fill(buf, p.w, x+col*p.scale, y+row*p.scale, p.scale, 0xff)
				}
			}
		}
		x += glyphStep * p.scale
	}
}

// fill sets a square inside the image to one grey.
func fill(buf []byte, w, x, y, side int, v byte) {
	for row := y; row < y+side; row++ {
		line := buf[(row*w+x)*3 : (row*w+x+side)*3]
		for i := range line {
			line[i] = v
		}
	}
}

const (
	glyphWidth  = 5
	glyphHeight = 7
	glyphStep   = glyphWidth + 1
)

// glyphs are the characters that the pattern writes, one row of 5 bits after the
// other.
var glyphs = map[byte][glyphHeight]byte{
	'0': {0b01110, 0b10001, 0b10011, 0b10101, 0b11001, 0b10001, 0b01110},
	'1': {0b00100, 0b01100, 0b10100, 0b00100, 0b00100, 0b00100, 0b11111},
	'2': {0b01110, 0b10001, 0b00001, 0b00110, 0b01000, 0b10000, 0b11111},
	'3': {0b11110, 0b00001, 0b00001, 0b01110, 0b00001, 0b00001, 0b11110},
	'4': {0b00010, 0b00110, 0b01010, 0b10010, 0b11111, 0b00010, 0b00010},
	'5': {0b11111, 0b10000, 0b11110, 0b00001, 0b00001, 0b10001, 0b01110},
	'6': {0b00110, 0b01000, 0b10000, 0b11110, 0b10001, 0b10001, 0b01110},
	'7': {0b11111, 0b00001, 0b00010, 0b00100, 0b00100, 0b01000, 0b01000},
	'8': {0b01110, 0b10001, 0b10001, 0b01110, 0b10001, 0b10001, 0b01110},
	'9': {0b01110, 0b10001, 0b10001, 0b01111, 0b00001, 0b00010, 0b01100},
	'#': {0b01010, 0b01010, 0b11111, 0b01010, 0b11111, 0b01010, 0b01010},
	':': {0b00000, 0b00100, 0b00100, 0b00000, 0b00100, 0b00100, 0b00000},
	'-': {0b00000, 0b00000, 0b00000, 0b11111, 0b00000, 0b00000, 0b00000},
	'.': {0b00000, 0b00000, 0b00000, 0b00000, 0b00000, 0b01100, 0b01100},
}

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
