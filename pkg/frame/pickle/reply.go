package pickle

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"framekeeper/pkg/frame"
)

// EncodeReply is the legacy wire's answer to a request, a dict pickled
// with protocol 3, the oldest one with bytes: for a header of frame.StatusOK
//
//	{"image": ndarray of HxWx3 uint8, "status": "True", **request}
//
// and otherwise {"image": "", "status": "False", **request}. Keys "image" and
// "status" of the request do not replace ours. The image's rows are bgr, 3
// bytes a pixel without padding; it is copied once.
//
// The array is made from a bytearray, which costs the reader a copy: made from
// bytes it would be read-only, and the old client's drawing calls refuse that.
func EncodeReply(h frame.Header, bgr []byte) ([]byte, error) {
	request, err := requestItems(h.Request)
	if err != nil {
		return nil, fmt.Errorf("encode pickle reply: %w", err)
	}
	head := pickled("\x80\x03}(").str("image")
	if h.Status != frame.StatusOK {
		head = head.str("").str("status").str("False")
		return slices.Concat(head, request, []byte("u.")), nil
	}
	if h.Width <= 0 || h.Height <= 0 || h.Width > math.MaxInt32/h.Height/3 || h.Width*h.Height*3 != len(bgr) {
		return nil, fmt.Errorf("encode pickle reply: image of %d bytes, expected %d x %d pixels of 3", len(bgr), h.Width, h.Height)
	}
	head = append(head, "cnumpy\nndarray\n"...)
	head = head.int32(int32(h.Height)).int32(int32(h.Width)).int32(3)
	head = append(head, 0x87) // the shape, a tuple of three
	head = head.str("u1")
	head = append(head, "cbuiltins\nbytearray\nB"...)
	head = binary.LittleEndian.AppendUint32(head, uint32(len(bgr)))
	tail := pickled("\x85R\x87R").str("status").str("True") // bytearray(bytes), ndarray(shape, "u1", bytearray)
	reply := make([]byte, 0, len(head)+len(bgr)+len(tail)+len(request)+len("u."))
	for _, part := range [][]byte{head, bgr, tail, request} {
		reply = append(reply, part...)
	}
	return append(reply, "u."...), nil
}

// pickled is a pickle being written.
type pickled []byte

func (p pickled) str(s string) pickled {
	p = append(p, 'X')
	p = binary.LittleEndian.AppendUint32(p, uint32(len(s)))
	return append(p, s...)
}

func (p pickled) int32(n int32) pickled {
	return binary.LittleEndian.AppendUint32(append(p, 'J'), uint32(n))
}

// requestItems writes the keys and values of a JSON object, in its order, for a
// SETITEMS that follows.
func requestItems(object json.RawMessage) (pickled, error) {
	if len(object) == 0 {
		return nil, nil
	}
	if frame.Depth(object) > frame.MaxRequestDepth {
		return nil, refuse("nested deeper than %d", frame.MaxRequestDepth)
	}
	if !json.Valid(object) || object[bytes.IndexAny(object, "{[\"tfn-0123456789")] != '{' {
		return nil, refuse("not a JSON object")
	}
	dec := json.NewDecoder(bytes.NewReader(object)) //nolint:forbidigo // tokens, whose keys are exact
	dec.UseNumber()                                 // float64 would spoil large integers
	if _, err := dec.Token(); err != nil {
		return nil, fmt.Errorf("read request: %w", err)
	}
	return pickled(nil).dictItems(dec, func(key string) bool { return key == "image" || key == "status" })
}

// dictItems writes what follows a '{' up to its '}', without the keys to skip.
func (p pickled) dictItems(dec *json.Decoder, skip func(key string) bool) (pickled, error) {
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return nil, fmt.Errorf("read request: %w", err)
		}
		before := len(p)
		key, _ := token.(string)
		if p, err = p.str(key).value(dec); err != nil {
			return nil, err
		}
		if skip(key) {
			p = p[:before]
		}
	}
	_, err := dec.Token()
	return p, err
}

func (p pickled) value(dec *json.Decoder) (pickled, error) {
	token, err := dec.Token()
	if err != nil {
		return nil, fmt.Errorf("read request: %w", err)
	}
	switch v := token.(type) {
	case json.Delim:
		return p.nested(v, dec)
	case string:
		return p.str(v), nil
	case json.Number:
		return p.number(string(v))
	case bool:
		if v {
			return append(p, 0x88), nil
		}
		return append(p, 0x89), nil
	default:
		return append(p, 'N'), nil
	}
}

func (p pickled) nested(open json.Delim, dec *json.Decoder) (pickled, error) {
	var err error
	if open == '{' {
		p, err = append(p, "}("...).dictItems(dec, func(string) bool { return false })
		return append(p, 'u'), err
	}
	p = append(p, "]("...)
	for dec.More() {
		if p, err = p.value(dec); err != nil {
			return nil, err
		}
	}
	_, err = dec.Token()
	return append(p, 'e'), err
}

// number writes what Python's json.loads would make of the text: an int of any
// size, or a float, which is infinite beyond its range.
func (p pickled) number(text string) (pickled, error) {
	if strings.ContainsAny(text, ".eE") {
		f, err := strconv.ParseFloat(text, 64)
		if err != nil && !math.IsInf(f, 0) {
			return nil, fmt.Errorf("read number: %w", err)
		}
		return binary.BigEndian.AppendUint64(append(p, 'G'), math.Float64bits(f)), nil
	}
	if n, err := strconv.ParseInt(text, 10, 32); err == nil {
		return p.int32(int32(n)), nil
	}
	n, ok := new(big.Int).SetString(text, 10)
	if !ok {
		return nil, fmt.Errorf("read number: %.40q", text)
	}
	b := twosComplement(n)
	p = append(p, 0x8b)
	p = binary.LittleEndian.AppendUint32(p, uint32(len(b)))
	return append(p, b...), nil
}

// twosComplement is n in little-endian order, with room for its sign.
func twosComplement(n *big.Int) []byte {
	size := n.BitLen()/8 + 1
	if n.Sign() < 0 {
		n = new(big.Int).Add(n, new(big.Int).Lsh(big.NewInt(1), uint(8*size)))
	}
	b := n.FillBytes(make([]byte, size))
	slices.Reverse(b)
	return b
}
