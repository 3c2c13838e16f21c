package frame

import (
	"encoding/binary"
	"fmt"
	"math"
	"unicode/utf8"
)

// maxPickleProtocol is the newest protocol there is.
const maxPickleProtocol = 5

// pickleReader runs the part of Python's pickle machine that makes plain
// values. Every opcode takes at least one byte of the input and pushes at most
// one value, so its memory is bounded by the input.
type pickleReader struct {
	in    []byte
	pos   int
	stack []*node
	marks []int // heights of the stack; nothing below the last one can be popped
	memo  map[uint64]*node
}

func readPickle(data []byte) (*node, error) {
	r := &pickleReader{in: data, memo: make(map[uint64]*node)}
	for {
		at := r.pos
		op, err := r.byte()
		if err != nil {
			return nil, err
		}
		if op == '.' {
			break
		}
		if err := r.step(op); err != nil {
			return nil, fmt.Errorf("%w (at byte %d)", err, at)
		}
	}
	if r.pos != len(data) {
		return nil, refuse("not a pickle: %d bytes after its end", len(data)-r.pos)
	}
	if len(r.stack) != 1 || len(r.marks) != 0 {
		return nil, refuse("not a pickle: it ends with %d values, expected 1", len(r.stack))
	}
	return r.stack[0], nil
}

// step runs one opcode. The groups are tried in turn; each says whether the
// opcode is one of its own.
func (r *pickleReader) step(op byte) error {
	known, err := r.number(op)
	if !known {
		known, err = r.text(op)
	}
	if !known {
		known, err = r.container(op)
	}
	if !known {
		known, err = r.memoOp(op)
	}
	if !known {
		known, err = r.machine(op)
	}
	if !known {
		return r.refused(op)
	}
	return err
}

// width is how many bytes an opcode's number, length or memo slot has.
func width(op byte) int {
	switch op {
	case 'K', 'U', 'C', 'q', 'h', 0x8a, 0x8c:
		return 1
	case 'M':
		return 2
	case 0x8d, 0x8e:
		return 8
	default: // J, T, X, B, r, j, LONG4
		return 4
	}
}

// number runs the opcodes of numbers, booleans and None.
func (r *pickleReader) number(op byte) (bool, error) {
	var n *node
	var err error
	switch op {
	case 'N':
		n = scalar("null")
	case 0x88:
		n = scalar("true")
	case 0x89:
		n = scalar("false")
	case 'I', 'L':
		n, err = r.decimal(op)
	case 'K', 'M', 'J':
		n, err = r.binaryInt(width(op))
	case 0x8a, 0x8b:
		n, err = r.long(width(op))
	case 'F':
		n, err = r.floatLine()
	case 'G':
		var b []byte
		if b, err = r.take(8); err == nil {
			n, err = float(math.Float64frombits(binary.BigEndian.Uint64(b)))
		}
	default:
		return false, nil
	}
	return true, r.pushed(n, err)
}

// text runs the opcodes of strings and bytes.
func (r *pickleReader) text(op byte) (bool, error) {
	var b []byte
	var err error
	kind := nodeString
	switch op {
	case 'S', 'V':
		return true, r.pushed(r.quoted(op))
	case 'U', 'T': // Python 2's str
		b, err = r.counted(width(op))
		if err == nil {
			b = []byte(bytesText(string(b)))
		}
	case 'X', 0x8c, 0x8d:
		b, err = r.counted(width(op))
		if err == nil && !utf8.Valid(b) {
			err = refuse("a str with a lone surrogate or invalid UTF-8")
		}
	case 'B', 'C', 0x8e:
		b, err = r.counted(width(op))
		kind = nodeBytes
	default:
		return false, nil
	}
	return true, r.pushed(&node{kind: kind, text: string(b)}, err)
}

// machine runs the opcodes that move values about, and protocol and framing.
func (r *pickleReader) machine(op byte) (bool, error) {
	switch op {
	case '(':
		r.marks = append(r.marks, len(r.stack))
		return true, nil
	case '0':
		_, err := r.pop(1)
		return true, err
	case '1':
		_, err := r.popMark()
		return true, err
	case '2':
		top, err := r.top()
		return true, r.pushed(top, err)
	case 0x80:
		v, err := r.byte()
		if err == nil && v > maxPickleProtocol {
			err = refuse("pickle protocol %d, at most %d is known", v, maxPickleProtocol)
		}
		return true, err
	case 0x95: // the length of a frame, of use only to who reads from a file
		_, err := r.take(8)
		return true, err
	case 'c':
		return true, r.global()
	case 'R':
		return true, r.reduce()
	}
	return false, nil
}

func (r *pickleReader) pushed(n *node, err error) error {
	if err == nil {
		r.stack = append(r.stack, n)
	}
	return err
}

func (r *pickleReader) floor() int {
	if len(r.marks) == 0 {
		return 0
	}
	return r.marks[len(r.marks)-1]
}

func (r *pickleReader) top() (*node, error) {
	if len(r.stack) <= r.floor() {
		return nil, refuse("not a pickle: a value is missing")
	}
	return r.stack[len(r.stack)-1], nil
}

// pop takes the last n values. They are valid until the next push.
func (r *pickleReader) pop(n int) ([]*node, error) {
	at := len(r.stack) - n
	if at < r.floor() {
		return nil, refuse("not a pickle: a value is missing")
	}
	values := r.stack[at:]
	r.stack = r.stack[:at]
	return values, nil
}

// popMark takes the values above the last mark, and the mark.
func (r *pickleReader) popMark() ([]*node, error) {
	if len(r.marks) == 0 {
		return nil, refuse("not a pickle: a mark is missing")
	}
	values, err := r.pop(len(r.stack) - r.floor())
	r.marks = r.marks[:len(r.marks)-1]
	return values, err
}
