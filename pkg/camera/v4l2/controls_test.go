package v4l2

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"framekeeper/pkg/camera"
)

func TestControlName(t *testing.T) {
	for label, want := range map[string]string{
		"Exposure Time, Absolute":      "exposure_time_absolute",
		"White Balance, Automatic":     "white_balance_automatic",
		"Inject V4L2_BUF_FLAG_ERROR":   "inject_v4l2_buf_flag_error",
		"  Gain  ":                     "gain",
		"Bruch-Höhe (%)":               "bruch_h_he",
		"Exposure, Dynamic Framerate.": "exposure_dynamic_framerate",
		"":                             "",
	} {
		if got := controlName(label); got != want {
			t.Errorf("%q: got %q, want %q", label, got, want)
		}
	}
}

// webcam is what a UVC camera has.
func webcam() []Control {
	all := []Control{
		{Label: "Brightness", Min: 0, Max: 255, id: cidBrightness, kind: kindInteger},
		{Label: "White Balance, Automatic", Max: 1, Value: 1, id: cidAutoWhite, kind: kindBoolean},
		{Label: "White Balance Temperature", Min: 2000, Max: 6500, Step: 10, id: cidWhiteBalance, kind: kindInteger},
		{Label: "Gain", Max: 255, id: cidGain, kind: kindInteger},
		{Label: "Auto Exposure", Value: 3, Max: 3, id: cidAutoExposure, kind: kindMenu,
			Menu: []MenuItem{{1, "Manual Mode"}, {3, "Aperture Priority Mode"}}},
		{Label: "Exposure Time, Absolute", Min: 3, Max: 2047, Step: 1, id: cidExposureTime, kind: kindInteger, flags: flagInactive},
		{Label: "Flags", Max: 6, id: 0x9a0999, kind: kindBitmask},
		{Label: "Serial", Max: 6, id: 0x9a0998, kind: kindInteger, flags: flagReadOnly},
		{Label: "Reset", id: 0x9a0997, kind: kindButton},
	}
	for i := range all {
		all[i].Name, all[i].Aliases = controlName(all[i].Label), aliases(all[i].id)
	}
	return all
}

func TestPlan(t *testing.T) {
	for _, c := range []struct {
		name   string
		values map[string]int64
		want   string
	}{
		{"automatic goes off by itself", map[string]int64{"exposure": 250, "gain": 3}, "auto_exposure=1 exposure_time_absolute=250 gain=3"},
		{"automatic named", map[string]int64{"exposure": 250, "auto_exposure": 1}, "auto_exposure=1 exposure_time_absolute=250"},
		{"old kernels' names", map[string]int64{"exposure_absolute": 9, "exposure_auto": 1}, "auto_exposure=1 exposure_time_absolute=9"},
		{"automatic alone", map[string]int64{"auto_exposure": 3}, "auto_exposure=3"},
		{"white balance", map[string]int64{"white_balance": 4000}, "white_balance_automatic=0 white_balance_temperature=4000"},
		{"bits and buttons", map[string]int64{"flags": 6, "reset": 99}, "flags=6 reset=99"},
	} {
		t.Run(c.name, func(t *testing.T) {
			todo, err := plan(webcam(), c.values)
			var got []string
			for _, a := range todo {
				got = append(got, fmt.Sprintf("%s=%d", a.control.Name, a.value))
			}
			if s := strings.Join(got, " "); err != nil || s != c.want {
				t.Errorf("got %s, %v; want %s", s, err, c.want)
			}
		})
	}
}

func TestPlanRefuses(t *testing.T) {
	for _, c := range []struct {
		values map[string]int64
		says   string
	}{
		{map[string]int64{"exposre": 1}, `"exposre" is not one of this camera's: brightness, white_balance_automatic,`},
		{map[string]int64{"exposure": 2}, `"exposure" = 2: expected 3 to 2047`},
		{map[string]int64{"white_balance": 1}, "2000 to 6500 in steps of 10"},
		{map[string]int64{"auto_exposure": 2}, "expected 1 (Manual Mode), 3 (Aperture Priority Mode)"},
		{map[string]int64{"white_balance_automatic": 2}, "0 (off), 1 (on)"},
		{map[string]int64{"flags": 8}, "bits of 0x6"},
		{map[string]int64{"serial": 1}, "can only be read"},
		{map[string]int64{"exposure": 9, "exposure_time_absolute": 8}, "under another name already"},
		{map[string]int64{"exposure": 9, "auto_exposure": 3}, "no effect with auto_exposure = 3 (Aperture Priority Mode): expected auto_exposure = 1 (Manual Mode)"},
	} {
		_, err := plan(webcam(), c.values)
		if !errors.Is(err, camera.ErrUnsupported) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v: got %v, want it to say %q", c.values, err, c.says)
		}
	}
	_, err := plan(webcam(), map[string]int64{"a": 1, "gain": 1000})
	if err == nil || !strings.Contains(err.Error(), `"a"`) || !strings.Contains(err.Error(), `"gain"`) {
		t.Errorf("got %v, want both mistakes at once", err)
	}
}

// A sensor's own "exposure" is not hidden by the alias.
func TestOwnNameGoesBeforeAlias(t *testing.T) {
	all := append(webcam(), Control{Name: "exposure", Max: 5, id: cidExposure, kind: kindInteger})
	if c := find(all, "exposure"); c == nil || c.id != cidExposure {
		t.Errorf("found %+v, want the one called exposure", c)
	}
}

func FuzzControlName(f *testing.F) {
	f.Add("Exposure Time, Absolute")
	f.Fuzz(func(t *testing.T, label string) {
		name := controlName(label)
		if strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" || controlName(name) != name || strings.Contains(name, "__") {
			t.Errorf("%q became %q", label, name)
		}
	})
}
