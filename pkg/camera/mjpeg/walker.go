package mjpeg

import "bytes"

// event is what a walker came upon.
type event uint8

const (
	nothing event = iota // the bytes are used up
	began                // an SOI; what was collected before it is no JPEG
	ended                // an EOI: the JPEG is whole
	lost                 // what began as a JPEG goes on as something else
)

// place is where in a JPEG the walker stands.
type place uint8

const (
	outside      place = iota // looking for an SOI's first byte
	outsideMark               // after an 0xff
	atMark                    // a marker's first byte is due
	atMarkCode                // its second byte is due
	atSizeHigh                // a segment's length is due
	atSizeLow                 //
	inSegment                 // left bytes of it remain
	inScan                    // entropy-coded data
	inScanMarked              // an 0xff in it
)

const (
	markRST0 = 0xd0
	markRST7 = 0xd7
	markSOI  = 0xd8
	markEOI  = 0xd9
	markSOS  = 0xda
	markSOF0 = 0xc0 // below it no marker has a segment
)

// walker follows a JPEG's structure through pieces of any size, looking at no
// byte twice. It must follow it: an 0xff 0xd8 or 0xff 0xd9 in a segment belongs
// to a thumbnail and not to the image. Entropy-coded data it only searches for
// 0xff.
type walker struct {
	at   place
	mark byte // of the segment
	left int  // of the segment
}

// inside reports whether the bytes last walked over belong to a JPEG.
func (w *walker) inside() bool { return w.at > outsideMark }

// walk goes over p until something happens, and says how many bytes it used.
func (w *walker) walk(p []byte) (int, event) {
	for i := 0; i < len(p); {
		switch w.at {
		case outside:
			k := bytes.IndexByte(p[i:], 0xff)
			if k < 0 {
				return len(p), nothing
			}
			i += k + 1
			w.at = outsideMark
			continue
		case inSegment:
			n := min(w.left, len(p)-i)
			i, w.left = i+n, w.left-n
			w.endSegment()
			continue
		case inScan:
			n, more := scan(p[i:])
			i += n
			if !more {
				w.at = inScanMarked
			}
			continue
		}
		if e := w.step(p[i]); e != nothing {
			return i + 1, e
		}
		i++
	}
	return len(p), nothing
}

// scan goes over entropy-coded data until after an 0xff that may be a marker's
// first byte; more says there was none.
func scan(p []byte) (n int, more bool) {
	for {
		k := bytes.IndexByte(p[n:], 0xff)
		if k < 0 {
			return len(p), true
		}
		n += k + 1
		if n == len(p) || p[n] != 0 {
			return n, false
		}
		n++ // 0xff 0x00 is a value of 0xff
	}
}

// step takes one byte of a marker or length.
func (w *walker) step(b byte) event {
	switch w.at {
	case outsideMark:
		switch b {
		case 0xff: // may be the SOI's first byte as well
		case markSOI:
			return w.begin()
		default:
			w.at = outside
		}
	case atMark:
		if b != 0xff {
			return w.lose()
		}
		w.at = atMarkCode
	case atMarkCode:
		if b == markEOI { // before any scan
			return w.lose()
		}
		return w.marked(b)
	case atSizeHigh:
		w.left = int(b) << 8
		w.at = atSizeLow
	case atSizeLow:
		w.left |= int(b)
		if w.left < 2 {
			return w.lose()
		}
		w.left -= 2
		w.at = inSegment
		w.endSegment()
	case inScanMarked:
		if b == 0 || b >= markRST0 && b <= markRST7 {
			w.at = inScan
			return nothing
		}
		return w.marked(b)
	}
	return nothing
}

// marked takes the second byte of a marker.
func (w *walker) marked(b byte) event {
	switch {
	case b == 0xff: // a fill byte
		return nothing
	case b == markSOI: // the rest of the JPEG before is missing
		return w.begin()
	case b == markEOI:
		w.at = outside
		return ended
	case b < markSOF0, b >= markRST0 && b <= markRST7:
		return w.lose()
	}
	w.mark, w.at = b, atSizeHigh
	return nothing
}

func (w *walker) endSegment() {
	switch {
	case w.left > 0:
	case w.mark == markSOS:
		w.at = inScan
	default:
		w.at = atMark
	}
}

func (w *walker) begin() event {
	w.at = atMark
	return began
}

func (w *walker) lose() event {
	w.at = outside
	return lost
}
