package pickle

import (
	"encoding/binary"
	"fmt"
	"math"
	"unicode/utf8"
)

// maxProtocol is the newest protocol there is.
const maxProtocol = 5

// machine runs the part of Python's pickle machine that makes plain
// values. Every opcode takes at least one byte of the input and pushes at most
// one value, so its memory is bounded by the input.
type machine struct {
	in    []byte
	pos   int
	stack []*node
	marks []int // heights of the stack; nothing below the last one can be popped
	memo  map[uint64]*node
}

func load(data []byte) (*node, error) {
	m := &machine{in: data, memo: make(map[uint64]*node)}
	for {
		at := m.pos
		op, err := m.byte()
		if err != nil {
			return nil, err
		}
		if op == '.' {
			break
		}
		if err := m.step(op); err != nil {
			return nil, fmt.Errorf("%w (at byte %d)", err, at)
		}
	}
	if m.pos != len(data) {
		return nil, refuse("not a pickle: %d bytes after its end", len(data)-m.pos)
	}
	if len(m.stack) != 1 || len(m.marks) != 0 {
		return nil, refuse("not a pickle: it ends with %d values, expected 1", len(m.stack))
	}
	return m.stack[0], nil
}

// step runs one opcode. The groups are tried in turn; each reports whether the
// opcode is one of its own.
func (m *machine) step(op byte) error {
	handled, err := m.number(op)
	if !handled {
		handled, err = m.text(op)
	}
	if !handled {
		handled, err = m.container(op)
	}
	if !handled {
		handled, err = m.memoOp(op)
	}
	if !handled {
		handled, err = m.machine(op)
	}
	if !handled {
		return m.refused(op)
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
func (m *machine) number(op byte) (bool, error) {
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
		n, err = m.decimal(op)
	case 'K', 'M', 'J':
		n, err = m.binaryInt(width(op))
	case 0x8a, 0x8b:
		n, err = m.long(width(op))
	case 'F':
		n, err = m.floatLine()
	case 'G':
		var b []byte
		if b, err = m.next(8); err == nil {
			n, err = float(math.Float64frombits(binary.BigEndian.Uint64(b)))
		}
	default:
		return false, nil
	}
	return true, m.pushed(n, err)
}

// text runs the opcodes of strings and bytes.
func (m *machine) text(op byte) (bool, error) {
	var b []byte
	var err error
	kind := nodeString
	switch op {
	case 'S', 'V':
		return true, m.pushed(m.quoted(op))
	case 'U', 'T': // Python 2's str
		b, err = m.counted(width(op))
		if err == nil {
			b = []byte(bytesText(string(b)))
		}
	case 'X', 0x8c, 0x8d:
		b, err = m.counted(width(op))
		if err == nil && !utf8.Valid(b) {
			err = refuse("a str with a lone surrogate or invalid UTF-8")
		}
	case 'B', 'C', 0x8e:
		b, err = m.counted(width(op))
		kind = nodeBytes
	default:
		return false, nil
	}
	return true, m.pushed(&node{kind: kind, text: string(b)}, err)
}

// machine runs the opcodes that move values about, and protocol and framing.
func (m *machine) machine(op byte) (bool, error) {
	switch op {
	case '(':
		m.marks = append(m.marks, len(m.stack))
		return true, nil
	case '0':
		_, err := m.pop(1)
		return true, err
	case '1':
		_, err := m.popMark()
		return true, err
	case '2':
		top, err := m.top()
		return true, m.pushed(top, err)
	case 0x80:
		v, err := m.byte()
		if err == nil && v > maxProtocol {
			err = refuse("pickle protocol %d, at most %d is handled", v, maxProtocol)
		}
		return true, err
	case 0x95: // the length of a frame, of use only to who reads from a file
		_, err := m.next(8)
		return true, err
	case 'c':
		return true, m.global()
	case 'R':
		return true, m.reduce()
	}
	return false, nil
}

func (m *machine) pushed(n *node, err error) error {
	if err == nil {
		m.stack = append(m.stack, n)
	}
	return err
}

func (m *machine) floor() int {
	if len(m.marks) == 0 {
		return 0
	}
	return m.marks[len(m.marks)-1]
}

func (m *machine) top() (*node, error) {
	if len(m.stack) <= m.floor() {
		return nil, refuse("not a pickle: a value is missing")
	}
	return m.stack[len(m.stack)-1], nil
}

// pop takes the last n values. They are valid until the next push.
func (m *machine) pop(n int) ([]*node, error) {
	at := len(m.stack) - n
	if at < m.floor() {
		return nil, refuse("not a pickle: a value is missing")
	}
	values := m.stack[at:]
	m.stack = m.stack[:at]
	return values, nil
}

// popMark takes the values above the last mark, and the mark.
func (m *machine) popMark() ([]*node, error) {
	if len(m.marks) == 0 {
		return nil, refuse("not a pickle: a mark is missing")
	}
	values, err := m.pop(len(m.stack) - m.floor())
	m.marks = m.marks[:len(m.marks)-1]
	return values, err
}
