package testsrc

const (
	glyphWidth  = 5
	glyphHeight = 7
	glyphStep   = glyphWidth + 1
)

// glyph is a character's picture, one row of 5 bits after the other; what the
// pattern never writes is blank.
func glyph(c byte) [glyphHeight]byte {
	switch c {
	case '0':
		return [...]byte{0b01110, 0b10001, 0b10011, 0b10101, 0b11001, 0b10001, 0b01110}
	case '1':
		return [...]byte{0b00100, 0b01100, 0b10100, 0b00100, 0b00100, 0b00100, 0b11111}
	case '2':
		return [...]byte{0b01110, 0b10001, 0b00001, 0b00110, 0b01000, 0b10000, 0b11111}
	case '3':
		return [...]byte{0b11110, 0b00001, 0b00001, 0b01110, 0b00001, 0b00001, 0b11110}
	case '4':
		return [...]byte{0b00010, 0b00110, 0b01010, 0b10010, 0b11111, 0b00010, 0b00010}
	case '5':
		return [...]byte{0b11111, 0b10000, 0b11110, 0b00001, 0b00001, 0b10001, 0b01110}
	case '6':
		return [...]byte{0b00110, 0b01000, 0b10000, 0b11110, 0b10001, 0b10001, 0b01110}
	case '7':
		return [...]byte{0b11111, 0b00001, 0b00010, 0b00100, 0b00100, 0b01000, 0b01000}
	case '8':
		return [...]byte{0b01110, 0b10001, 0b10001, 0b01110, 0b10001, 0b10001, 0b01110}
	case '9':
		return [...]byte{0b01110, 0b10001, 0b10001, 0b01111, 0b00001, 0b00010, 0b01100}
	case '#':
		return [...]byte{0b01010, 0b01010, 0b11111, 0b01010, 0b11111, 0b01010, 0b01010}
	case ':':
		return [...]byte{0b00000, 0b00100, 0b00100, 0b00000, 0b00100, 0b00100, 0b00000}
	case '-':
		return [...]byte{0b00000, 0b00000, 0b00000, 0b11111, 0b00000, 0b00000, 0b00000}
	case '.':
		return [...]byte{0b00000, 0b00000, 0b00000, 0b00000, 0b00000, 0b01100, 0b01100}
	default:
		return [glyphHeight]byte{}
	}
}
