package outbox

import (
	"fmt"
	"slices"
	"strings"
)

// simOp is one operation of a plan.
type simOp struct {
	kind simKind
	seed uint64 // of all choices while it is carried out
}

// simPlan is a run: what its world is like, and what is done to it.
type simPlan struct {
	seed uint64
	ops  []simOp
	kept []int // which of the seed's operations these are; nil: all
}

// newSimPlan makes the plan of a seed. Each one prefers some kinds of operations and
// leaves out others, so that their combinations get deep.
func newSimPlan(seed uint64) simPlan {
	rng := newSimRandom(seed, 1)
	weights := map[simKind]int{}
	total := 0
	for _, k := range simKinds {
		weight := k.weight
		switch rng.IntN(4) {
		case 0:
			if !k.always {
				weight = 0
			}
		case 1:
			weight *= 4
		}
		weights[k.kind] = weight
		total += weight
	}
	p := simPlan{seed: seed}
	for range 40 + rng.IntN(160) {
		at := rng.IntN(total)
		for _, k := range simKinds {
			if at -= weights[k.kind]; at < 0 {
				p.ops = append(p.ops, simOp{kind: k.kind, seed: rng.Uint64()})
				break
			}
		}
	}
	return p
}

// only is the plan with some of its operations.
func (p simPlan) only(kept []int) simPlan {
	q := simPlan{seed: p.seed, kept: kept}
	for _, i := range kept {
		q.ops = append(q.ops, p.ops[i])
	}
	return q
}

// String is how a plan is given to -sim.seed.
func (p simPlan) String() string {
	if p.kept == nil {
		return fmt.Sprint(p.seed)
	}
	parts := make([]string, len(p.kept))
	for i, k := range p.kept {
		parts[i] = fmt.Sprint(k)
	}
	return fmt.Sprintf("%d:%s", p.seed, strings.Join(parts, ","))
}

// parseSimPlan reads what String writes.
func parseSimPlan(text string) (p simPlan, err error) {
	number, list, some := strings.Cut(text, ":")
	var seed uint64
	if _, err := fmt.Sscan(number, &seed); err != nil {
		return p, fmt.Errorf("plan %q: %w", text, err)
	}
	p = newSimPlan(seed)
	if !some {
		return p, nil
	}
	var kept []int
	for part := range strings.SplitSeq(list, ",") {
		var i int
		if _, err := fmt.Sscan(part, &i); err != nil || i < 0 || i >= len(p.ops) {
			return p, fmt.Errorf("plan %q: operation %q", text, part)
		}
		kept = append(kept, i)
	}
	return p.only(kept), nil
}

// shrink leaves out operations as long as the run fails all the same, in at most so
// many runs.
func (p simPlan) shrink(fails func(simPlan) bool, runs int) simPlan {
	kept := make([]int, len(p.ops))
	for i := range kept {
		kept[i] = i
	}
	for size := len(kept) / 2; size > 0; size /= 2 {
		for at := 0; at < len(kept) && runs > 0; {
			without := slices.Delete(slices.Clone(kept), at, min(at+size, len(kept)))
			runs--
			if fails(p.only(without)) {
				kept = without
			} else {
				at += size
			}
		}
	}
	return p.only(kept)
}
