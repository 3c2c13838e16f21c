package frame

import (
	"bytes"
	"encoding/binary"
	"math"
)

// take reads n bytes of the input.
func (r *pickleReader) take(n int) ([]byte, error) {
	if n > len(r.in)-r.pos {
		return nil, refuse("not a pickle, or one cut short after %d bytes", len(r.in))
	}
	b := r.in[r.pos : r.pos+n]
	r.pos += n
	return b, nil
}

func (r *pickleReader) byte() (byte, error) {
	b, err := r.take(1)
	if err != nil {
		return 0, err
	}
	return b[0], nil
}

// uint reads a little-endian number of the given width.
func (r *pickleReader) uint(width int) (uint64, error) {
	var b [8]byte
	raw, err := r.take(width)
	copy(b[:], raw)
	return binary.LittleEndian.Uint64(b[:]), err
}

// counted reads a length of the given width and as many bytes.
func (r *pickleReader) counted(width int) ([]byte, error) {
	n, err := r.uint(width)
	if err != nil {
		return nil, err
	}
	return r.take(int(min(n, math.MaxInt32)))
}

func (r *pickleReader) line() ([]byte, error) {
	n := bytes.IndexByte(r.in[r.pos:], '\n')
	if n < 0 {
		return nil, refuse("not a pickle, or one cut short after %d bytes", len(r.in))
	}
	b, err := r.take(n + 1)
	return b[:n], err
}
