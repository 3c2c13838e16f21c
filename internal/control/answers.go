package control

import "slices"

// Answers are what came of one call: one answer, unless several controllers
// have the box's name.
type Answers struct {
	Replies   []*Reply   // at least one, each of another controller
	Silent    []Identity // those that the others know of, and that have not answered
	Listeners int64      // subscribers the command has reached, whoever they are; -1: not known
}

// Namesakes is how many controllers have the box's name, as far as is known.
func (a *Answers) Namesakes() int { return len(a.Replies) + len(a.Silent) }

// complete reports whether nobody else can be expected to answer.
func (a *Answers) complete(instance string) bool {
	if instance != "" {
		return len(a.Replies) > 0
	}
	return len(a.Replies) > 0 && len(a.Silent) == 0 && a.Listeners >= 0 && int64(len(a.Replies)) >= a.Listeners
}

// answers are those that have come so far.
func (c *Call) answers() *Answers {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := &Answers{Replies: slices.Clone(c.replies), Listeners: c.heard}
	seen := map[string]bool{}
	for _, r := range a.Replies {
		seen[r.Instance] = true
	}
	for _, r := range a.Replies {
		for _, o := range r.Namesakes {
			if !seen[o.Instance] {
				seen[o.Instance] = true
				a.Silent = append(a.Silent, o)
			}
		}
	}
	return a
}
