package v4l2

import "strings"

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
