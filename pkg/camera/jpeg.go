package camera

import (
	"errors"
	"fmt"
)

// ErrBadJPEG is wrapped by InspectJPEG for bytes that are not one complete
// JPEG. A camera sends such bytes when a transfer was cut short: the frame is
// to be dropped and counted, the camera is not broken.
var ErrBadJPEG = errors.New("not a complete JPEG")

// JPEG is what InspectJPEG found in a camera's bytes.
type JPEG struct {
	Data          []byte // from SOI to EOI: a part of what was inspected, without the padding
	Width, Height int
	NoTables      bool // Huffman tables are missing; most decoders need them
	Progressive   bool // a decoder needs all coefficients in memory

	samples float64 // of each pixel: 1.5 with chroma of 4:2:0
	scan    int     // where the first SOS is, and missing tables belong
}

// The markers of ITU-T T.81, table B.1, that matter here.
const (
	markSOF0 = 0xc0 // baseline
	markSOF2 = 0xc2 // progressive; between them extended sequential
	markDHT  = 0xc4
	markRST0 = 0xd0
	markRST7 = 0xd7
	markSOI  = 0xd8
	markEOI  = 0xd9
	markSOS  = 0xda
	markDQT  = 0xdb
	markDRI  = 0xdd
	markAPP0 = 0xe0
	markAPPf = 0xef
	markCOM  = 0xfe
)

// InspectJPEG checks that data is one whole JPEG of a kind that decoders support
// (8 bit, baseline, extended sequential or progressive), at most 16384 pixels
// each way, and perhaps padded with zeros, as UVC cameras do. It walks the
// segments before the image data, of which it checks the end only, and passes
// over what stands between them, as libjpeg does. It allocates nothing unless there
// is an error, which wraps ErrBadJPEG.
func InspectJPEG(data []byte) (JPEG, error) {
	end := len(data)
	for end > 0 && data[end-1] == 0 {
		end--
	}
	if end < 4 || data[0] != 0xff || data[1] != markSOI {
		return JPEG{}, badJPEG("%d bytes do not begin as one", len(data))
	}
	if data[end-2] != 0xff || data[end-1] != markEOI {
		return JPEG{}, badJPEG("%d bytes do not end as one", len(data))
	}
	j := JPEG{Data: data[:end:end], NoTables: true}
	if err := j.walk(); err != nil {
		return JPEG{}, err
	}
	return j, nil
}

func badJPEG(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrBadJPEG, fmt.Sprintf(format, args...))
}

// walk goes from segment to segment until the first scan.
func (j *JPEG) walk() error {
	rest := j.Data[2 : len(j.Data)-2] // what is between SOI and EOI
	for len(rest) >= 4 {
		mark := rest[1]
		switch {
		case rest[0] != 0xff: // junk, which decoders pass over
			rest = rest[1:]
			continue
		case mark == 0xff && rest[2] != 0: // a fill byte
			rest = rest[1:]
			continue
		case mark == 0, mark >= markRST0 && mark <= markRST7: // no segment follows
			rest = rest[2:]
			continue
		}
		size := int(rest[2])<<8 | int(rest[3])
		if size < 2 || 2+size > len(rest) {
			return badJPEG("segment %#x of %d bytes, %d are there", mark, size, len(rest)-2)
		}
		body := rest[4 : 2+size]
		switch {
		case mark == markSOS:
			j.scan = len(j.Data) - 2 - len(rest)
			return j.checkScan(body, rest[2+size:])
		case mark >= markSOF0 && mark <= markSOF2:
			j.Progressive = mark == markSOF2
			if err := j.readSize(body); err != nil {
				return err
			}
		case mark == markDHT:
			j.NoTables = false
		case mark == markDQT, mark == markDRI, mark == markCOM, mark >= markAPP0 && mark <= markAPPf:
		default:
			return badJPEG("marker %#x before the image data", mark)
		}
		rest = rest[2+size:]
	}
	return badJPEG("no image data")
}

// readSize reads an SOF segment: precision, height, width, and for each
// component its name, sampling factors and quantisation table.
func (j *JPEG) readSize(body []byte) error {
	if j.Width != 0 {
		return badJPEG("two frame headers")
	}
	if len(body) < 6 || len(body) != 6+3*int(body[5]) {
		return badJPEG("frame header of %d bytes", len(body))
	}
	if body[0] != 8 {
		return badJPEG("%d bits a sample, expected 8", body[0])
	}
	if n := body[5]; n != 1 && n != 3 && n != 4 {
		return badJPEG("%d components, expected 1, 3 or 4", n)
	}
	most, all := 0, 0 // blocks of a component in each unit
	for c := body[6:]; len(c) > 0; c = c[3:] {
		h, v := c[1]>>4, c[1]&15
		if h < 1 || h > 4 || v < 1 || v > 4 || c[2] > 3 {
			return badJPEG("component with sampling %dx%d and quantisation table %d", h, v, c[2])
		}
		for other := c[3:]; len(other) > 0; other = other[3:] {
			if other[0] == c[0] {
				return badJPEG("two components of the name %d", c[0])
			}
		}
		most, all = max(most, int(h)*int(v)), all+int(h)*int(v)
	}
	j.samples = float64(all) / float64(most)
	w, h := int(body[3])<<8|int(body[4]), int(body[1])<<8|int(body[2])
	if w < 1 || h < 1 || w > maxSide || h > maxSide {
		return badJPEG("%dx%d pixels, expected 1 to %d each way", w, h, maxSide)
	}
	j.Width, j.Height = w, h
	return nil
}

// checkScan checks the first SOS segment and what follows it.
func (j *JPEG) checkScan(body, image []byte) error {
	switch {
	case j.Width == 0:
		return badJPEG("image data without a frame header")
	case len(body) < 1 || body[0] < 1 || body[0] > 4 || len(body) != 4+2*int(body[0]):
		return badJPEG("scan header of %d bytes", len(body))
	case len(image) == 0:
		return badJPEG("no image data")
	case j.NoTables && j.Progressive:
		return badJPEG("progressive and without Huffman tables, for which no standard exists")
	}
	return nil
}

// AppendTo appends the image to dst, with the standard Huffman tables if it
// lacks them. dst must not overlap Data.
func (j *JPEG) AppendTo(dst []byte) []byte {
	if !j.NoTables {
		return append(dst, j.Data...)
	}
	dst = append(dst, j.Data[:j.scan]...)
	dst = append(dst, standardHuffman...)
	return append(dst, j.Data[j.scan:]...)
}

// InPlace is the image with the standard Huffman tables moved in between if it
// lacks them: buf, of which Data must be the beginning, or a larger copy.
func (j *JPEG) InPlace(buf []byte) []byte {
	if !j.NoTables {
		return buf[:len(j.Data)]
	}
	size := len(j.Data)
	buf = append(buf[:size], standardHuffman...)
	copy(buf[j.scan+len(standardHuffman):], buf[j.scan:size])
	copy(buf[j.scan:], standardHuffman)
	return buf
}

// standardHuffman is the segment with the Huffman tables of ITU-T T.81, Annex K
// (K.3 to K.6: luminance DC and AC, chrominance DC and AC), which a camera that
// sends none means. Each table is its class and number, how many codes there
// are of 1 to 16 bits, and their values.
const standardHuffman = "" +
	"\xff\xc4\x01\xa2" +
	"\x00" +
	"\x00\x01\x05\x01\x01\x01\x01\x01\x01\x00\x00\x00\x00\x00\x00\x00" +
	"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b" +
	"\x10" +
	"\x00\x02\x01\x03\x03\x02\x04\x03\x05\x05\x04\x04\x00\x00\x01\x7d" +
	"\x01\x02\x03\x00\x04\x11\x05\x12\x21\x31\x41\x06\x13\x51\x61\x07" +
	"\x22\x71\x14\x32\x81\x91\xa1\x08\x23\x42\xb1\xc1\x15\x52\xd1\xf0" +
	"\x24\x33\x62\x72\x82\x09\x0a\x16\x17\x18\x19\x1a\x25\x26\x27\x28" +
	"\x29\x2a\x34\x35\x36\x37\x38\x39\x3a\x43\x44\x45\x46\x47\x48\x49" +
	"\x4a\x53\x54\x55\x56\x57\x58\x59\x5a\x63\x64\x65\x66\x67\x68\x69" +
	"\x6a\x73\x74\x75\x76\x77\x78\x79\x7a\x83\x84\x85\x86\x87\x88\x89" +
	"\x8a\x92\x93\x94\x95\x96\x97\x98\x99\x9a\xa2\xa3\xa4\xa5\xa6\xa7" +
	"\xa8\xa9\xaa\xb2\xb3\xb4\xb5\xb6\xb7\xb8\xb9\xba\xc2\xc3\xc4\xc5" +
	"\xc6\xc7\xc8\xc9\xca\xd2\xd3\xd4\xd5\xd6\xd7\xd8\xd9\xda\xe1\xe2" +
	"\xe3\xe4\xe5\xe6\xe7\xe8\xe9\xea\xf1\xf2\xf3\xf4\xf5\xf6\xf7\xf8" +
	"\xf9\xfa" +
	"\x01" +
	"\x00\x03\x01\x01\x01\x01\x01\x01\x01\x01\x01\x00\x00\x00\x00\x00" +
	"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b" +
	"\x11" +
	"\x00\x02\x01\x02\x04\x04\x03\x04\x07\x05\x04\x04\x00\x01\x02\x77" +
	"\x00\x01\x02\x03\x11\x04\x05\x21\x31\x06\x12\x41\x51\x07\x61\x71" +
	"\x13\x22\x32\x81\x08\x14\x42\x91\xa1\xb1\xc1\x09\x23\x33\x52\xf0" +
	"\x15\x62\x72\xd1\x0a\x16\x24\x34\xe1\x25\xf1\x17\x18\x19\x1a\x26" +
	"\x27\x28\x29\x2a\x35\x36\x37\x38\x39\x3a\x43\x44\x45\x46\x47\x48" +
	"\x49\x4a\x53\x54\x55\x56\x57\x58\x59\x5a\x63\x64\x65\x66\x67\x68" +
	"\x69\x6a\x73\x74\x75\x76\x77\x78\x79\x7a\x82\x83\x84\x85\x86\x87" +
	"\x88\x89\x8a\x92\x93\x94\x95\x96\x97\x98\x99\x9a\xa2\xa3\xa4\xa5" +
	"\xa6\xa7\xa8\xa9\xaa\xb2\xb3\xb4\xb5\xb6\xb7\xb8\xb9\xba\xc2\xc3" +
	"\xc4\xc5\xc6\xc7\xc8\xc9\xca\xd2\xd3\xd4\xd5\xd6\xd7\xd8\xd9\xda" +
	"\xe2\xe3\xe4\xe5\xe6\xe7\xe8\xe9\xea\xf2\xf3\xf4\xf5\xf6\xf7\xf8" +
	"\xf9\xfa"
