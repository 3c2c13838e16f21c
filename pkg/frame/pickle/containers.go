package pickle

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// container runs the opcodes of lists, tuples and dicts.
func (m *machine) container(op byte) (bool, error) {
	switch op {
	case ']':
		return true, m.pushed(&node{kind: nodeList}, nil)
	case ')':
		return true, m.pushed(&node{kind: nodeTuple}, nil)
	case '}':
		return true, m.pushed(&node{kind: nodeDict}, nil)
	case 'l', 't':
		kind := nodeList
		if op == 't' {
			kind = nodeTuple
		}
		values, err := m.popMark()
		return true, m.pushed(&node{kind: kind, items: slices.Clone(values)}, err)
	case 0x85, 0x86, 0x87:
		values, err := m.pop(int(op-0x85) + 1)
		return true, m.pushed(&node{kind: nodeTuple, items: slices.Clone(values)}, err)
	case 'd':
		values, err := m.popMark()
		if err != nil {
			return true, err
		}
		dict := &node{kind: nodeDict}
		return true, m.pushed(dict, setAll(dict, values))
	case 'a', 'e', 's', 'u':
		return true, m.extend(op)
	}
	return false, nil
}

// extend adds to the list or dict below the values.
func (m *machine) extend(op byte) error {
	var values []*node
	var err error
	switch op {
	case 'a':
		values, err = m.pop(1)
	case 's':
		values, err = m.pop(2)
	default:
		values, err = m.popMark()
	}
	if err != nil {
		return err
	}
	target, err := m.top()
	if err != nil {
		return err
	}
	if op == 's' || op == 'u' {
		return setAll(target, values)
	}
	if target.kind != nodeList {
		return refuse("not a pickle: append to a %s", target.kind)
	}
	target.items = append(target.items, values...)
	return nil
}

func setAll(dict *node, pairs []*node) error {
	if len(pairs)%2 != 0 {
		return refuse("not a pickle: a dict key without a value")
	}
	for i := 0; i < len(pairs); i += 2 {
		if err := dict.set(pairs[i], pairs[i+1]); err != nil {
			return err
		}
	}
	return nil
}

// memoOp runs the opcodes that remember a value and bring it back.
func (m *machine) memoOp(op byte) (bool, error) {
	var slot uint64
	var err error
	switch op {
	case 'p', 'g':
		var text []byte
		if text, err = m.line(); err == nil {
			if slot, err = strconv.ParseUint(string(text), 10, 32); err != nil {
				err = refuse("not a pickle: memo slot %.40q", text)
			}
		}
	case 'q', 'h', 'r', 'j':
		slot, err = m.uint(width(op))
	case 0x94:
		slot = uint64(len(m.memo))
	default:
		return false, nil
	}
	if err != nil {
		return true, err
	}
	if op == 'g' || op == 'h' || op == 'j' {
		n, ok := m.memo[slot]
		if !ok {
			return true, refuse("not a pickle: nothing in memo slot %d", slot)
		}
		return true, m.pushed(n, nil)
	}
	top, err := m.top()
	if err == nil {
		m.memo[slot] = top
	}
	return true, err
}

// The two names that Python 3 spells bytes with in the protocols that have no
// opcode for them: _codecs.encode("text", "latin1") and __builtin__.bytes().
// They are understood, never called.
const (
	codecsEncode = "_codecs.encode"
	builtinBytes = "__builtin__.bytes"
)

func (m *machine) global() error {
	module, err := m.line()
	if err != nil {
		return err
	}
	name, err := m.line()
	if err != nil {
		return err
	}
	full := string(module) + "." + string(name)
	if full != codecsEncode && full != builtinBytes {
		return refuse("a class or call (%.40q); only plain values are allowed", full)
	}
	return m.pushed(&node{kind: nodeFunction, text: full}, nil)
}

func (m *machine) reduce() error {
	values, err := m.pop(2)
	if err != nil {
		return err
	}
	function, args := values[0], values[1]
	if function.kind != nodeFunction || args.kind != nodeTuple {
		return refuse("a call; only plain values are allowed")
	}
	if function.text == builtinBytes && len(args.items) == 0 {
		return m.pushed(&node{kind: nodeBytes}, nil)
	}
	if function.text == codecsEncode && len(args.items) == 2 &&
		args.items[0].kind == nodeString && args.items[1].kind == nodeString && args.items[1].text == "latin1" {
		return m.pushed(latin1(args.items[0].text))
	}
	return refuse("a call of %s; only plain values are allowed", function.text)
}

func latin1(text string) (*node, error) {
	var b strings.Builder
	for _, c := range text {
		if c > 0xff {
			return nil, refuse("not a pickle: bytes with the character %q", c)
		}
		b.WriteByte(byte(c))
	}
	return &node{kind: nodeBytes, text: b.String()}, nil
}

// refused is why an opcode is not run.
func (m *machine) refused(op byte) error {
	switch op {
	case 0x93, 'i', 'o', 'b', 0x81, 0x92, 0x82, 0x83, 0x84, 'P', 'Q':
		name := ""
		if n := len(m.stack); op == 0x93 && n >= 2 {
			name = fmt.Sprintf(" (%.40q)", m.stack[n-2].text+"."+m.stack[n-1].text)
		}
		return refuse("a class or call%s; only plain values are allowed", name)
	case 0x8f, 0x90, 0x91:
		return refuse("a set; only plain values are allowed")
	case 0x96, 0x97, 0x98:
		return refuse("a bytearray or buffer; only plain values are allowed")
	}
	return refuse("neither a pickle nor JSON: opcode 0x%02x", op)
}
