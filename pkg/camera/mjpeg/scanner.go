package mjpeg

import "bytes"

// event is what a scanner found.
type event uint8

const (
	nothing event = iota // the bytes are used up
	began                // an SOI; what was collected before it is no JPEG
	ended                // an EOI: the JPEG is whole
	lost                 // what began as a JPEG goes on as something else
)

// state is the scanner's position in the structure of a JPEG.
type state uint8

const (
	outside      state = iota // looking for an SOI's first byte
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
	markAPP0 = 0xe0 // it and those above hold what is not the image's
	markSOF0 = 0xc0 // below it no marker has a segment
)

// scanner follows a JPEG's structure through pieces of any size, looking at no
// byte twice. It must follow it: an 0xff 0xd8 or 0xff 0xd9 in a segment belongs
// to a thumbnail and not to the image. Entropy-coded data it only searches for
// 0xff. Like libjpeg it passes over what stands between two segments.
type scanner struct {
	at   state
	mark byte // of the segment
	left int  // of the segment
	junk int  // bytes between segments that were passed over

	marked0xff bool // the segment's last byte so far was an 0xff
	holdsSOI   bool // the segment holds an SOI and is none that may have a thumbnail
}

// inside reports whether the bytes last scanned belong to a JPEG.
func (s *scanner) inside() bool { return s.at > outsideMark }

// scan goes over p until something happens, and returns how many bytes it used.
func (s *scanner) scan(p []byte) (int, event) {
	for i := 0; i < len(p); {
		switch s.at {
		case outside:
			k := bytes.IndexByte(p[i:], 0xff)
			if k < 0 {
				return len(p), nothing
			}
			i += k + 1
			s.at = outsideMark
			continue
		case inSegment:
			n := min(s.left, len(p)-i)
			s.findSOI(p[i : i+n])
			i, s.left = i+n, s.left-n
			s.endSegment()
			continue
		case inScan:
			n, more := skipEntropyCoded(p[i:])
			i += n
			if !more {
				s.at = inScanMarked
			}
			continue
		}
		if e := s.step(p[i]); e != nothing {
			return i + 1, e
		}
		i++
	}
	return len(p), nothing
}

// skipEntropyCoded goes on until after an 0xff that may be a marker's first byte;
// more: there was none.
func skipEntropyCoded(p []byte) (n int, more bool) {
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

// step reads one byte of a marker or length.
func (s *scanner) step(b byte) event {
	switch s.at {
	case outsideMark:
		switch b {
		case 0xff: // may be the SOI's first byte as well
		case markSOI:
			return s.begin()
		default:
			s.at = outside
		}
	case atMark:
		switch {
		case b == 0xff:
			s.at = atMarkCode
		case s.holdsSOI: // the JPEG was cut short in it, and its rest is another's
			return s.lose()
		default: // decoders pass over it too
			s.junk++
		}
	case atMarkCode:
		if b == markEOI { // before any scan
			return s.lose()
		}
		return s.marked(b)
	case atSizeHigh:
		s.left = int(b) << 8
		s.at = atSizeLow
	case atSizeLow:
		s.left |= int(b)
		if s.left < 2 {
			return s.lose()
		}
		s.left -= 2
		s.marked0xff, s.holdsSOI = false, false
		s.at = inSegment
		s.endSegment()
	case inScanMarked:
		if b == 0 || b >= markRST0 && b <= markRST7 {
			s.at = inScan
			return nothing
		}
		return s.marked(b)
	}
	return nothing
}

// marked reads the second byte of a marker.
func (s *scanner) marked(b byte) event {
	switch {
	case b == 0xff: // a fill byte
		return nothing
	case b == markSOI: // the rest of the JPEG before is missing
		return s.begin()
	case b == markEOI:
		s.at = outside
		return ended
	case b == 0, b >= markRST0 && b <= markRST7: // no marker, or one without a segment
		s.junk += 2
		s.at = atMark
		return nothing
	case b < markSOF0:
		return s.lose()
	}
	s.mark, s.at = b, atSizeHigh
	return nothing
}

// findSOI looks through a piece of a segment.
func (s *scanner) findSOI(p []byte) {
	if s.mark >= markAPP0 {
		return
	}
	s.holdsSOI = s.holdsSOI || s.marked0xff && p[0] == markSOI || bytes.Contains(p, []byte{0xff, markSOI})
	s.marked0xff = p[len(p)-1] == 0xff
}

func (s *scanner) endSegment() {
	switch {
	case s.left > 0:
	case s.mark == markSOS:
		s.at = inScan
	default:
		s.at = atMark
	}
}

func (s *scanner) begin() event {
	s.at, s.holdsSOI = atMark, false
	return began
}

func (s *scanner) lose() event {
	s.at = outside
	return lost
}
