package v4l2

import (
	"cmp"
	"errors"
	"maps"
	"slices"
)

// assignment is a control to be set.
type assignment struct {
	control *Control
	asked   string // the name in the configuration; "" if it follows from another
	value   int64
}

// plan puts what the configuration sets in the order in which a camera takes
// it: automatics first, since values they govern are refused or ignored while
// they are on. An automatic that the configuration does not name is switched off
// for the sake of a value that it does.
func plan(all []Control, values map[string]int64) ([]assignment, error) {
	var todo []assignment
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(values)) {
		c, err := checkValue(all, name, values[name])
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if slices.ContainsFunc(todo, func(a assignment) bool { return a.control == c }) {
			errs = append(errs, settingErrorf("control %q is %s, which is set under another name already", name, c.Name))
			continue
		}
		todo = append(todo, assignment{c, name, values[name]})
	}
	for _, a := range slices.Clone(todo) {
		var err error
		if todo, err = switchOff(all, todo, a); err != nil {
			errs = append(errs, err)
		}
	}
	slices.SortStableFunc(todo, func(a, b assignment) int {
		return cmp.Compare(rank(a.control.id), rank(b.control.id))
	})
	return todo, errors.Join(errs...)
}

func rank(id uint32) int {
	if isGovernor(id) {
		return 0
	}
	return 1
}

func checkValue(all []Control, name string, v int64) (*Control, error) {
	c := find(all, name)
	switch {
	case c == nil:
		return nil, settingErrorf("control %q is not one of this camera's: %s", name, settable(all))
	case c.flags&flagReadOnly != 0:
		return nil, settingErrorf("control %q can only be read", name)
	case !c.allows(v):
		return nil, settingErrorf("control %q = %d: expected %s", name, v, c.Range())
	}
	return c, nil
}

// switchOff adds what must be set for a to take effect.
func switchOff(all []Control, todo []assignment, a assignment) ([]assignment, error) {
	id, off := governor(a.control.id)
	auto := byID(all, id)
	if auto == nil {
		return todo, nil
	}
	off = slices.DeleteFunc(off, func(v int64) bool { return !auto.allows(v) })
	if len(off) == 0 {
		return todo, nil // whether it is governed at all will show
	}
	if i := slices.IndexFunc(todo, func(b assignment) bool { return b.control == auto }); i >= 0 {
		if set := todo[i].value; !slices.Contains(off, set) {
			return todo, settingErrorf("control %q has no effect with %s = %s: expected %s = %s", a.asked,
				todo[i].asked, auto.shown(set), todo[i].asked, auto.shown(off[0]))
		}
		return todo, nil
	}
	if slices.Contains(off, auto.Value) || auto.flags&flagReadOnly != 0 {
		return todo, nil
	}
	return append(todo, assignment{control: auto, value: off[0]}), nil
}
