package hostile

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// Mutation changes some of a server's bytes, once.
type Mutation struct {
	Kind  string // flip, cut, repeat or reorder
	After int    // bytes that pass unchanged first, on all connections together
	Size  int    // bytes that it concerns, as far as they come together
	Bits  byte   // that flip
}

// RandomMutation draws one within the next few thousand bytes.
func RandomMutation(r *rand.Rand) Mutation {
	kinds := []string{"flip", "cut", "repeat", "reorder"}
	after := r.IntN(200) // the lines of a reply, most often
	if r.IntN(4) == 0 {
		after = r.IntN(8 << 10)
	}
	return Mutation{Kind: kinds[r.IntN(len(kinds))], After: after, Size: 1 + r.IntN(1+r.IntN(64)), Bits: byte(1 + r.IntN(255))}
}

func (m Mutation) String() string {
	return fmt.Sprintf("%s %d bytes after %d", m.Kind, m.Size, m.After)
}

// of is b with its bytes from m.After on changed.
func (m Mutation) of(b []byte) []byte {
	before, rest := b[:m.After], b[m.After:]
	part, after := rest[:min(m.Size, len(rest))], rest[min(m.Size, len(rest)):]
	switch m.Kind {
	case "flip":
		part = slices.Clone(part)
		for i := range part {
			part[i] ^= m.Bits
		}
		return slices.Concat(before, part, after)
	case "cut":
		return slices.Concat(before, after)
	case "repeat":
		return slices.Concat(before, part, part, after)
	default:
		next := min(m.Size, len(after))
		return slices.Concat(before, after[:next], part, after[next:])
	}
}
