package v4l2

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// The kinds of controls, from enum v4l2_ctrl_type.
const (
	kindInteger     = 1
	kindBoolean     = 2
	kindMenu        = 3
	kindButton      = 4
	kindInteger64   = 5
	kindClass       = 6
	kindBitmask     = 8
	kindIntegerMenu = 9
)

// Flags of controls.
const (
	flagDisabled  = 0x1
	flagReadOnly  = 0x4
	flagInactive  = 0x10
	flagWriteOnly = 0x40
)

// Identifiers of the controls that govern each other.
const (
	cidBrightness      = 0x980900
	cidHue             = 0x980903
	cidAutoWhite       = 0x98090c
	cidRedBalance      = 0x98090e
	cidBlueBalance     = 0x98090f
	cidExposure        = 0x980911
	cidAutoGain        = 0x980912
	cidGain            = 0x980913
	cidAutoHue         = 0x980919
	cidWhiteBalance    = 0x98091a
	cidAutoBrightness  = 0x980920
	cidAutoExposure    = 0x9a0901
	cidExposureTime    = 0x9a0902
	cidDynamicRate     = 0x9a0903
	cidFocus           = 0x9a090a
	cidAutoFocus       = 0x9a090c
	cidZoom            = 0x9a090d
	exposureManual     = 1
	exposureByShutter  = 2 // the iris is automatic, the time is not
	maxControls        = 1000
	maxMenuItems       = 256
	maxControlsInError = 60
)

// MenuItem is one choice of a control.
type MenuItem struct {
	Value int64
	Name  string
}

// Control is a setting of a camera.
type Control struct {
	Name    string   // as config.toml and v4l2-ctl write it: exposure_time_absolute
	Aliases []string // other names that are understood: exposure
	Label   string   // the driver's: "Exposure Time, Absolute"
	Min     int64
	Max     int64
	Step    int64
	Default int64
	Value   int64 // when it was asked for
	Menu    []MenuItem
	Note    string // "read-only", "inactive" or ""

	id, kind, flags uint32
}

// controlName is a label as a name: letters and digits in lower case, whatever
// is between them as one underscore. v4l2-ctl does the same.
func controlName(label string) string {
	var b strings.Builder
	gap := false
	for _, r := range label {
		if r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			gap = b.Len() > 0
			continue
		}
		if gap {
			b.WriteByte('_')
			gap = false
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// knownControls are controls with more than one name, and those that an automatic
// governs.
var knownControls = []struct {
	id    uint32
	names []string // short ones, and those that other versions of the kernel give
	auto  uint32   // the automatic that must be off for it to be set by hand; 0: none
	off   []int64  // the automatic's values that count as off, the one to set first
}{
	{cidExposureTime, []string{"exposure", "exposure_time_absolute", "exposure_absolute"}, cidAutoExposure, []int64{exposureManual, exposureByShutter}},
	{cidExposure, nil, cidAutoExposure, []int64{exposureManual, exposureByShutter}},
	{cidGain, nil, cidAutoGain, []int64{0}},
	{cidWhiteBalance, []string{"white_balance", "white_balance_temperature"}, cidAutoWhite, []int64{0}},
	{cidRedBalance, nil, cidAutoWhite, []int64{0}},
	{cidBlueBalance, nil, cidAutoWhite, []int64{0}},
	{cidFocus, []string{"focus", "focus_absolute"}, cidAutoFocus, []int64{0}},
	{cidHue, nil, cidAutoHue, []int64{0}},
	{cidBrightness, nil, cidAutoBrightness, []int64{0}},
	{cidZoom, []string{"zoom", "zoom_absolute"}, 0, nil},
	{cidDynamicRate, []string{"exposure_dynamic_framerate", "exposure_auto_priority"}, 0, nil},
	{cidAutoExposure, []string{"auto_exposure", "exposure_auto"}, 0, nil},
	{cidAutoWhite, []string{"auto_white_balance", "white_balance_automatic", "white_balance_temperature_auto"}, 0, nil},
	{cidAutoGain, []string{"auto_gain", "gain_automatic"}, 0, nil},
	{cidAutoHue, []string{"auto_hue", "hue_automatic", "hue_auto"}, 0, nil},
	{cidAutoBrightness, []string{"auto_brightness", "brightness_automatic"}, 0, nil},
	{cidAutoFocus, []string{"auto_focus", "focus_automatic_continuous", "focus_auto"}, 0, nil},
}

// aliases are the names of the control besides the driver's.
func aliases(id uint32) []string {
	for _, k := range knownControls {
		if k.id == id {
			return k.names
		}
	}
	return nil
}

// governor is the automatic that must be off for a control to be set by hand,
// and its values that count as off, the one to set first.
func governor(id uint32) (auto uint32, off []int64) {
	for _, k := range knownControls {
		if k.id == id {
			return k.auto, slices.Clone(k.off)
		}
	}
	return 0, nil
}

// isGovernor reports whether the control switches an automatic.
func isGovernor(id uint32) bool {
	for _, k := range knownControls {
		if k.auto == id {
			return true
		}
	}
	return false
}

// find is the control of that name: its own name goes before an alias.
func find(all []Control, name string) *Control {
	for i := range all {
		if all[i].Name == name {
			return &all[i]
		}
	}
	for i := range all {
		if slices.Contains(all[i].Aliases, name) {
			return &all[i]
		}
	}
	return nil
}

// byID is the control with that identifier.
func byID(all []Control, id uint32) *Control {
	for i := range all {
		if all[i].id == id {
			return &all[i]
		}
	}
	return nil
}

// allows reports whether the value may be set.
func (c *Control) allows(v int64) bool {
	if len(c.Menu) > 0 {
		return slices.ContainsFunc(c.Menu, func(m MenuItem) bool { return m.Value == v })
	}
	switch c.kind {
	case kindButton:
		return true
	case kindBitmask:
		return v >= 0 && v&^c.Max == 0
	}
	return v >= c.Min && v <= c.Max
}

// Range is what may be set, for people.
func (c *Control) Range() string {
	switch {
	case len(c.Menu) > 0:
		items := make([]string, len(c.Menu))
		for i, m := range c.Menu {
			items[i] = fmt.Sprintf("%d (%s)", m.Value, m.Name)
		}
		return strings.Join(items, ", ")
	case c.kind == kindBoolean:
		return "0 (off), 1 (on)"
	case c.kind == kindButton:
		return "any number, which presses it"
	case c.kind == kindBitmask:
		return fmt.Sprintf("bits of %#x", c.Max)
	case c.Step > 1:
		return fmt.Sprintf("%d to %d in steps of %d", c.Min, c.Max, c.Step)
	}
	return fmt.Sprintf("%d to %d", c.Min, c.Max)
}

// shown is a value with its name in the menu.
func (c *Control) shown(v int64) string {
	for _, m := range c.Menu {
		if m.Value == v {
			return fmt.Sprintf("%d (%s)", v, m.Name)
		}
	}
	return strconv.FormatInt(v, 10)
}

// settable are the names for an error, at most so many that it can be read.
func settable(all []Control) string {
	var names []string
	for i := range all {
		if all[i].flags&flagReadOnly == 0 {
			names = append(names, all[i].Name)
		}
	}
	switch n := len(names); {
	case n == 0:
		return "none"
	case n > maxControlsInError:
		return fmt.Sprintf("%s and %d more", strings.Join(names[:maxControlsInError], ", "), n-maxControlsInError)
	}
	return strings.Join(names, ", ")
}
