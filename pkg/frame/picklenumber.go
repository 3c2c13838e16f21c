package frame

import (
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
)

// decimal reads an INT or LONG line. INT also spells the booleans.
func (r *pickleReader) decimal(op byte) (*node, error) {
	raw, err := r.line()
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
		return nil, refuse("not a pickle: the number %q", clip(raw))
	}
	return scalar(n.String()), nil
}

// binaryInt reads an integer; the 4-byte one is signed.
func (r *pickleReader) binaryInt(width int) (*node, error) {
	u, err := r.uint(width)
	n := int64(u)
	if width == 4 {
		n = int64(int32(uint32(u)))
	}
	return scalar(strconv.FormatInt(n, 10)), err
}

// long reads a counted little-endian two's complement number.
func (r *pickleReader) long(width int) (*node, error) {
	raw, err := r.counted(width)
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

func (r *pickleReader) floatLine() (*node, error) {
	raw, err := r.line()
	if err != nil {
		return nil, err
	}
	f, err := strconv.ParseFloat(string(raw), 64)
	if err != nil && f == 0 {
		return nil, refuse("not a pickle: the float %q", clip(raw))
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
