package pickle

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
)

// next reads n bytes of the input.
func (m *machine) next(n int) ([]byte, error) {
	if n > len(m.in)-m.pos {
		return nil, refuse("not a pickle, or one cut short after %d bytes", len(m.in))
	}
	b := m.in[m.pos : m.pos+n]
	m.pos += n
	return b, nil
}

func (m *machine) byte() (byte, error) {
	b, err := m.next(1)
	if err != nil {
		return 0, err
	}
	return b[0], nil
}

// uint reads a little-endian number of the given width.
func (m *machine) uint(width int) (uint64, error) {
	var b [8]byte
	raw, err := m.next(width)
	copy(b[:], raw)
	return binary.LittleEndian.Uint64(b[:]), err
}

// counted reads a length of the given width and as many bytes.
func (m *machine) counted(width int) ([]byte, error) {
	n, err := m.uint(width)
	if err != nil {
		return nil, err
	}
	return m.next(int(min(n, math.MaxInt32)))
}

func (m *machine) line() ([]byte, error) {
	n := bytes.IndexByte(m.in[m.pos:], '\n')
	if n < 0 {
		return nil, refuse("not a pickle, or one cut short after %d bytes", len(m.in))
	}
	b, err := m.next(n + 1)
	return b[:n], err
}

// decimal reads an INT or LONG line. INT also spells the booleans.
func (m *machine) decimal(op byte) (*node, error) {
	raw, err := m.line()
	if err != nil {
		return nil, err
	}
	text := string(raw)
	switch {
	case op == 'I' && text == "00":
		return scalar("false"), nil
	case op == 'I' && text == "01":
		return scalar("true"), nil
	case op == 'L':
		text = strings.TrimSuffix(text, "L")
	}
	n, ok := new(big.Int).SetString(text, 10)
	if !ok {
		return nil, refuse("not a pickle: the number %.40q", raw)
	}
	return scalar(n.String()), nil
}

// binaryInt reads an integer; the 4-byte one is signed.
func (m *machine) binaryInt(width int) (*node, error) {
	u, err := m.uint(width)
	n := int64(u)
	if width == 4 {
		n = int64(int32(uint32(u)))
	}
	return scalar(strconv.FormatInt(n, 10)), err
}

// long reads a counted little-endian two's complement number.
func (m *machine) long(width int) (*node, error) {
	raw, err := m.counted(width)
	if err != nil {
		return nil, err
	}
	b := slices.Clone(raw)
	slices.Reverse(b)
	n := new(big.Int).SetBytes(b)
	if len(b) > 0 && b[0] >= 0x80 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	return scalar(n.String()), nil
}

func (m *machine) floatLine() (*node, error) {
	raw, err := m.line()
	if err != nil {
		return nil, err
	}
	f, err := strconv.ParseFloat(string(raw), 64)
	if err != nil && f == 0 {
		return nil, refuse("not a pickle: the float %.40q", raw)
	}
	return float(f)
}

// float writes a float that JSON has.
func float(f float64) (*node, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil, refuse("a float that is %v; JSON has no such number", f)
	}
	text := strconv.FormatFloat(f, 'g', -1, 64)
	if !strings.ContainsAny(text, ".e") {
		text += ".0" // or the echo would turn 25.0 into an int
	}
	return scalar(text), nil
}
