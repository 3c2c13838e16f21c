package v4l2

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"framekeeper/pkg/camera"
)

const nextControl = 0x80000000 // in a query's id: the one after this

// controls are the device's settings that a number can set or show, with their
// present values.
func (d *device) controls() []Control {
	var all []Control
	last := uint32(0)
	for range maxControls {
		q := queryExtCtrl{id: last | nextControl}
		if ioctl(d.fd, vidiocQueryExtCtrl, unsafe.Pointer(&q)) != nil || q.id <= last {
			break
		}
		last = q.id
		if c, ok := d.describe(&q); ok {
			all = append(all, c)
		}
	}
	return all
}

// describe makes a Control of what the driver said. ok is false for what no
// number can set: texts, arrays, headings.
func (d *device) describe(q *queryExtCtrl) (c Control, ok bool) {
	switch q.kind {
	case kindInteger, kindBoolean, kindMenu, kindButton, kindInteger64, kindBitmask, kindIntegerMenu:
	default:
		return Control{}, false
	}
	if q.flags&flagDisabled != 0 || q.numDims > 0 {
		return Control{}, false
	}
	c = Control{
		Label: cString(q.name[:]), Aliases: aliases(q.id),
		Min: q.minimum, Max: q.maximum, Step: int64(q.step), Default: q.def,
		id: q.id, kind: q.kind, flags: q.flags,
	}
	c.Name = controlName(c.Label)
	switch {
	case q.flags&flagReadOnly != 0:
		c.Note = "read-only"
	case q.flags&flagInactive != 0:
		c.Note = "inactive"
	case q.kind == kindButton:
		c.Note = "button"
	}
	if q.kind == kindMenu || q.kind == kindIntegerMenu {
		c.Menu = d.menu(q)
	}
	if q.kind != kindButton && q.flags&flagWriteOnly == 0 {
		if v, err := d.control(&c); err == nil {
			c.Value = v
		}
	}
	return c, true
}

func (d *device) menu(q *queryExtCtrl) []MenuItem {
	var items []MenuItem
	for v := max(q.minimum, 0); v <= q.maximum && len(items) < maxMenuItems && v < 1<<16; v++ {
		m := queryMenu{id: q.id, index: uint32(v)}
		if ioctl(d.fd, vidiocQueryMenu, unsafe.Pointer(&m)) != nil {
			continue // menus have holes
		}
		name := cString(m.item[:])
		if q.kind == kindIntegerMenu {
			name = fmt.Sprint(int64(binary.NativeEndian.Uint64(m.item[:8])))
		}
		items = append(items, MenuItem{v, name})
	}
	return items
}

// control reads a control's value.
func (d *device) control(c *Control) (int64, error) {
	e := extControl{id: c.id}
	if err := ioctlControl(d.fd, vidiocGetExtCtrls, &e); err != nil {
		return 0, err
	}
	if c.kind == kindInteger64 {
		return int64(binary.NativeEndian.Uint64(e.value[:])), nil
	}
	v := binary.NativeEndian.Uint32(e.value[:4])
	if c.kind == kindBitmask {
		return int64(v), nil
	}
	return int64(int32(v)), nil
}

func (d *device) setControl(c *Control, v int64) error {
	e := extControl{id: c.id}
	if c.kind == kindInteger64 {
		binary.NativeEndian.PutUint64(e.value[:], uint64(v))
	} else {
		binary.NativeEndian.PutUint32(e.value[:4], uint32(v))
	}
	return ioctlControl(d.fd, vidiocSetExtCtrls, &e)
}

// ioctlControl passes a single control; the collector leaves it where it is for
// as long as list points to it.
func ioctlControl(fd int, req uintptr, e *extControl) error {
	list := &extControls{count: 1, controls: e}
	return ioctl(fd, req, unsafe.Pointer(list))
}

// applyControls sets the configured values. note names what else was set
// or what came out differently.
func (d *device) applyControls(values map[string]int64) (note string, err error) {
	if len(values) == 0 {
		return "", nil
	}
	todo, err := plan(d.controls(), values)
	if err != nil {
		return "", err
	}
	var notes []string
	for _, a := range todo {
		said, err := d.assign(a)
		if err != nil {
			return "", err
		}
		if said != "" {
			notes = append(notes, said)
		}
	}
	return strings.Join(notes, ", "), nil
}

// assign sets one control and reads it back.
func (d *device) assign(a assignment) (note string, err error) {
	c := a.control
	if err := d.setControl(c, a.value); err != nil {
		return "", d.controlError(a, err)
	}
	if d.inactive(c) {
		return "", settingErrorf("control %q has no effect now: an automatic governs it; switch that off in controls as well: %s",
			c.Name, automatics(d.controls()))
	}
	if a.asked == "" {
		return fmt.Sprintf("%s set to %s", c.Name, c.shown(a.value)), nil
	}
	if c.kind == kindButton || c.flags&flagWriteOnly != 0 {
		return "", nil
	}
	if got, err := d.control(c); err == nil && got != a.value {
		return fmt.Sprintf("%s is %s instead of %d", a.asked, c.shown(got), a.value), nil
	}
	return "", nil
}

// inactive asks again, since setting one control changes others.
func (d *device) inactive(c *Control) bool {
	q := queryExtCtrl{id: c.id}
	return ioctl(d.fd, vidiocQueryExtCtrl, unsafe.Pointer(&q)) == nil && q.flags&flagInactive != 0
}

func (d *device) controlError(a assignment, err error) error {
	c := a.control
	switch {
	case errors.Is(err, unix.ERANGE), errors.Is(err, unix.EINVAL):
		return settingErrorf("control %q = %d: the camera refuses it (%w), expected %s", c.Name, a.value, err, c.Range())
	case errors.Is(err, unix.EACCES):
		return settingErrorf("control %q cannot be set: %w", c.Name, err)
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("%w: control %q cannot be set while another program streams from %s", camera.ErrBusy, c.Name, d.path)
	}
	return d.fail(fmt.Sprintf("set control %s = %d of", c.Name, a.value), err)
}

// automatics are the controls that may govern another one.
func automatics(all []Control) string {
	var found []string
	for i := range all {
		if c := &all[i]; isGovernor(c.id) || strings.Contains(c.Name, "auto") {
			found = append(found, fmt.Sprintf("%s is %s", c.Name, c.shown(c.Value)))
		}
	}
	if len(found) == 0 {
		return settable(all)
	}
	return strings.Join(found, ", ")
}
