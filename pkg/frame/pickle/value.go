package pickle

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"

	"framekeeper/pkg/frame"
)

// nodeKind is the Python type of a value.
type nodeKind uint8

const (
	nodeScalar   nodeKind = iota // text is its JSON: a number, true, false or null
	nodeString                   // text is UTF-8
	nodeBytes                    // text is the bytes
	nodeList                     // items
	nodeTuple                    // items
	nodeDict                     // keys and items side by side
	nodeFunction                 // text is one of the two names that spell bytes before protocol 3
)

func (k nodeKind) String() string {
	return [...]string{"number, boolean or None", "str", "bytes", "list", "tuple", "dict", "function"}[k]
}

// node is one value of a pickle. The same node may be part of several others,
// and, through the memo, of itself.
type node struct {
	kind  nodeKind
	text  string
	items []*node
	keys  []string
	index map[string]int // of a dict: where a key's item is
}

func scalar(json string) *node { return &node{kind: nodeScalar, text: json} }

// set does what d[key] = value does in Python.
func (n *node) set(key, value *node) error {
	if n.kind != nodeDict {
		return refuse("not a pickle: item assignment to a %s", n.kind)
	}
	if key.kind != nodeString {
		return refuse("a dict key is a %s, expected a str", key.kind)
	}
	if i, ok := n.index[key.text]; ok {
		n.items[i] = value
		return nil
	}
	if n.index == nil {
		n.index = make(map[string]int)
	}
	n.index[key.text] = len(n.items)
	n.keys = append(n.keys, key.text)
	n.items = append(n.items, value)
	return nil
}

// toJSON writes a value as JSON. Every node it visits adds at least one
// byte and the output is bounded, so shared nodes cannot blow the work up.
func toJSON(root *node) ([]byte, error) {
	w := jsonWriter{}
	w.strings = json.NewEncoder(&w.out)
	w.strings.SetEscapeHTML(false) // the echo should look like what was sent
	if err := w.value(root, 1); err != nil {
		return nil, err
	}
	return w.out.Bytes(), nil
}

type jsonWriter struct {
	out     bytes.Buffer
	strings *json.Encoder // writes to out
}

func (w *jsonWriter) value(n *node, depth int) error {
	if depth > frame.MaxRequestDepth && n.kind >= nodeList {
		return refuse("nested deeper than %d, or containing itself", frame.MaxRequestDepth)
	}
	if w.out.Len()+len(n.text) > frame.MaxRequestBytes {
		return refuse("more than %d bytes when written as JSON", frame.MaxRequestBytes)
	}
	switch n.kind {
	case nodeScalar:
		w.out.WriteString(n.text)
		return nil
	case nodeString:
		return w.string(n.text)
	case nodeBytes:
		return w.string(bytesText(n.text))
	case nodeList, nodeTuple:
		return w.items(n, '[', ']', depth)
	case nodeDict:
		return w.items(n, '{', '}', depth)
	default:
		return refuse("a class or function as a value; only plain values are allowed")
	}
}

func (w *jsonWriter) items(n *node, open, end byte, depth int) error {
	w.out.WriteByte(open)
	for i, item := range n.items {
		if i > 0 {
			w.out.WriteByte(',')
		}
		if n.kind == nodeDict {
			if err := w.string(n.keys[i]); err != nil {
				return err
			}
			w.out.WriteByte(':')
		}
		if err := w.value(item, depth+1); err != nil {
			return err
		}
	}
	w.out.WriteByte(end)
	return nil
}

func (w *jsonWriter) string(s string) error {
	if w.out.Len()+len(s) > frame.MaxRequestBytes {
		return refuse("more than %d bytes when written as JSON", frame.MaxRequestBytes)
	}
	if err := w.strings.Encode(s); err != nil {
		return refuse("string: %v", err)
	}
	w.out.Truncate(w.out.Len() - 1) // the newline Encode adds
	return nil
}

// bytesText makes text of bytes: Python 2 wrote its str in whatever encoding
// the program had, and Latin-1 at least loses nothing.
func bytesText(b string) string {
	if utf8.ValidString(b) {
		return b
	}
	runes := make([]rune, len(b))
	for i := range len(b) {
		runes[i] = rune(b[i])
	}
	return string(runes)
}
