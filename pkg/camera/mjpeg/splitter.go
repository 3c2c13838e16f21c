// Package mjpeg is the sources "exec:" and "http(s)://": cameras that already
// give JPEGs, from a command's standard output or from a web server. It
// promises the camera's own bytes, nothing but missing Huffman tables added,
// only whole JPEGs, and no process or connection left behind after Close. It
// refuses what is no JPEG and runs no shell. The agent opens its sources.
//
// Why the JPEG's own structure ends a frame and not the next boundary: the frame
// is out with its last byte, and a wrong length or boundary does no harm.
// Whether bytes had been waiting before they were read is observed, because such
// a frame may be older than it looks, and a request could otherwise get one from
// before a pause of the agent.
package mjpeg

import (
	"fmt"
	"io"
	"time"

	"framekeeper/pkg/camera"
)

const (
	// maxJPEG bounds one JPEG; 100 megapixels at usual qualities stay below.
	maxJPEG = 32 << 20
	// maxGarbage bounds what is passed over without a JPEG: more is a program
	// or server that speaks something else, such as H.264.
	maxGarbage = 1 << 20
	// maxText is how much of what precedes a JPEG is searched for a part's header.
	maxText = 4 << 10
	// readSize is what a pipe of Linux holds.
	readSize = 64 << 10
)

// Splitter finds the JPEGs in a stream of bytes: JPEGs one after the other,
// with anything or nothing between them. It reads multipart bodies with the
// same code, since what stands between their JPEGs is text: it needs no length
// or boundary to be right, and gives out a JPEG with its last byte instead of
// with the boundary that follows a frame interval later. A JPEG cut short is
// passed over, at worst with the one after it if the cut was in its headers.
// One goroutine uses it; after an error it is of no more use.
type Splitter struct {
	r       io.Reader
	arrived func() time.Time // when the bytes of the last read did
	limit   int

	scan    scanner
	buf     []byte
	at, end int // what of buf is yet to be scanned

	broken   uint64 // JPEGs passed over: cut short, too large or not JPEGs after all
	broke    func() // called for each of them; may be nil
	garbage  int    // bytes since the last whole JPEG that belong to none
	received int    // bytes since the last whole JPEG
	before   uint64 // broken at the last whole JPEG

	text        []byte // the last of what came before this JPEG: a part's header
	placeholder bool   // it says that the JPEG is no exposure
}

// NewSplitter reads from r. arrived is when the bytes that the last Read gave had
// arrived; nil means now.
func NewSplitter(r io.Reader, arrived func() time.Time) *Splitter {
	if arrived == nil {
		arrived = time.Now
	}
	return &Splitter{r: r, arrived: arrived, limit: maxJPEG, buf: make([]byte, readSize)}
}

// reset goes on with another reader, from which a new JPEG begins.
func (s *Splitter) reset(r io.Reader) {
	if s.scan.inside() {
		s.discard()
	}
	s.r, s.scan, s.at, s.end = r, scanner{junk: s.scan.junk}, 0, 0
}

func (s *Splitter) discard() {
	s.broken++
	if s.broke != nil {
		s.broke()
	}
}

// Broken counts the JPEGs that were passed over.
func (s *Splitter) Broken() uint64 { return s.broken }

// symptom describes what came in place of the next whole JPEG.
func (s *Splitter) symptom() string {
	size := fmt.Sprintf("%d bytes", s.received)
	if s.received >= 10<<10 {
		size = fmt.Sprintf("%d KiB", s.received>>10)
	}
	switch cut := s.broken - s.before; {
	case s.received == 0:
		return "nothing comes"
	case cut > 0:
		return fmt.Sprintf("%s came, in them %d times the beginning of a JPEG and no whole one", size, cut)
	case s.scan.inside():
		return fmt.Sprintf("%s came, and the JPEG in them does not end", size)
	}
	return fmt.Sprintf("%s came, and no JPEG in them", size)
}

// Next reads the next whole JPEG over dst, growing it as needed. first is when
// its first byte had arrived. Errors are those of the reader, io.EOF with
// them, and ErrNoData when there are no JPEGs to be found.
func (s *Splitter) Next(dst []byte) (jpeg []byte, first time.Time, err error) {
	dst = dst[:0]
	for {
		if s.at == s.end {
			if err := s.fill(); err != nil {
				return dst[:0], first, err
			}
		}
		chunk := s.buf[s.at:s.end]
		used, found := s.scan.scan(chunk)
		s.at += used
		switch {
		case found == began:
			if len(dst) > 0 {
				s.discard()
				s.note(dst)
			} else {
				s.garbage += used - 2
			}
			s.note(chunk[:used])
			s.placeholder, s.text = hasOffline(s.text), s.text[:0]
			dst = append(dst[:0], 0xff, markSOI)
			first = s.arrived()
		case found == lost:
			s.discard()
			s.garbage += len(dst) + used
			dst = dst[:0]
		case found == nothing && !s.scan.inside():
			s.garbage += used
			s.note(chunk[:used])
		case len(dst)+used > s.limit:
			s.discard()
			s.scan = scanner{}
			dst = dst[:0]
		default:
			dst = append(dst, chunk[:used]...)
			if found == ended {
				s.garbage, s.scan.junk, s.received, s.before = 0, 0, s.end-s.at, s.broken
				return dst, first, nil
			}
		}
		if all := s.garbage + s.scan.junk; all > maxGarbage {
			return dst[:0], first, fmt.Errorf("%w: %d KiB came and no JPEG in them", camera.ErrNoData, all>>10)
		}
	}
}

// note remembers the end of what is no JPEG.
func (s *Splitter) note(p []byte) {
	s.text = append(s.text, p[max(0, len(p)-maxText):]...)
	if over := len(s.text) - maxText; over > 0 {
		s.text = append(s.text[:0], s.text[over:]...)
	}
}

// fill reads the next piece.
func (s *Splitter) fill() error {
	for range 100 {
		n, err := s.r.Read(s.buf)
		if n > 0 { // an error with it comes again
			s.at, s.end = 0, n
			s.received += n
			return nil
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}
