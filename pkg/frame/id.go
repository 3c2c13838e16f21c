package frame

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ID names one entry of a camera's log: "<epoch>-<seq>", the form of a Redis
// stream ID. The epoch grows with every start of the agent, seq counts from 1
// within it; seq 0 is the epoch's "started" entry. The zero ID means "none".
type ID struct {
	Epoch uint64
	Seq   uint64
}

// ErrID is what every parse failure of an ID wraps.
var ErrID = errors.New(`not a frame ID ("<epoch>-<seq>")`)

// maxIDText is the length of the longest ID.
const maxIDText = len("18446744073709551615-18446744073709551615")

// ParseID reads the form that String writes, and "0-0", Redis's way of naming
// no entry, as the zero ID.
func ParseID(s string) (ID, error) {
	if len(s) > maxIDText {
		return ID{}, fmt.Errorf("%q…: %w", s[:maxIDText], ErrID)
	}
	left, right, _ := strings.Cut(s, "-")
	epoch, err := parseUint(left)
	seq, err2 := parseUint(right)
	if err != nil || err2 != nil {
		return ID{}, fmt.Errorf("%q: %w", s, ErrID)
	}
	return ID{Epoch: epoch, Seq: seq}, nil
}

// parseUint refuses leading zeros too, so that one ID has exactly one text and
// can serve as a file name.
func parseUint(s string) (uint64, error) {
	if len(s) > 1 && s[0] == '0' {
		return 0, ErrID
	}
	return strconv.ParseUint(s, 10, 64)
}

// IsZero reports whether the ID names nothing.
func (id ID) IsZero() bool { return id == ID{} }

// Compare orders IDs as Redis does: by epoch, then by sequence.
func (id ID) Compare(other ID) int {
	return cmp.Or(cmp.Compare(id.Epoch, other.Epoch), cmp.Compare(id.Seq, other.Seq))
}

// Less reports whether id comes before other.
func (id ID) Less(other ID) bool { return id.Compare(other) < 0 }

// Next is the ID after this one in the same epoch.
func (id ID) Next() ID { return ID{Epoch: id.Epoch, Seq: id.Seq + 1} }

// Later is the higher of two IDs.
func Later(a, b ID) ID {
	if a.Less(b) {
		return b
	}
	return a
}

// AppendText appends "<epoch>-<seq>", or nothing for the zero ID.
func (id ID) AppendText(b []byte) ([]byte, error) {
	if id.IsZero() {
		return b, nil
	}
	b = strconv.AppendUint(b, id.Epoch, 10)
	b = append(b, '-')
	return strconv.AppendUint(b, id.Seq, 10), nil
}

// String is "<epoch>-<seq>", or "" for the zero ID.
func (id ID) String() string {
	b, _ := id.AppendText(make([]byte, 0, 32))
	return string(b)
}

// MarshalText makes the ID a JSON string.
func (id ID) MarshalText() ([]byte, error) { return id.AppendText(nil) }

// UnmarshalText accepts "" as the zero ID.
func (id *ID) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*id = ID{}
		return nil
	}
	parsed, err := ParseID(string(b))
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}
