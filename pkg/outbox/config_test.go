package outbox

import (
	"strings"
	"testing"
	"time"

	"framekeeper/internal/bytesize"
)

func TestDeliveryValidate(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*Delivery)
		key    string // "": nothing is wrong
		says   string
	}{
		"defaults":         {func(*Delivery) {}, "", ""},
		"pubsub":           {func(d *Delivery) { d.Mode = ModePubSub }, "", ""},
		"both":             {func(d *Delivery) { d.Mode = ModeBoth }, "", ""},
		"always":           {func(d *Delivery) { d.Sync = SyncAlways }, "", ""},
		"limits":           {func(d *Delivery) { d.RetainBytes, d.SpoolMaxBytes = bytesize.MiB, bytesize.TiB }, "", ""},
		"no mode":          {func(d *Delivery) { d.Mode = "" }, "mode", "pubsub, stream or both"},
		"other mode":       {func(d *Delivery) { d.Mode = "Stream" }, "mode", "pubsub, stream or both"},
		"other sync":       {func(d *Delivery) { d.Sync = "never" }, "sync", "batch or always"},
		"stream too small": {func(d *Delivery) { d.StreamMaxBytes = bytesize.MiB - 1 }, "stream_max_bytes", "1MiB to 1TiB"},
		"retain nothing":   {func(d *Delivery) { d.RetainBytes = 0 }, "retain_bytes", "1MiB to 1TiB"},
		"spool too large":  {func(d *Delivery) { d.SpoolMaxBytes = bytesize.TiB + 1 }, "spool_max_bytes", "1MiB to 1TiB"},
		"age":              {func(d *Delivery) { d.SpoolMaxAge = time.Second }, "spool_max_age", "at least 1m"},
		"no directory":     {func(d *Delivery) { d.SpoolDir = "" }, "spool_dir", "a directory"},
	} {
		d := DefaultDelivery()
		tt.change(&d)
		var got []string
		d.Validate(func(key, value, expected string) { got = append(got, key+": "+expected) })
		switch {
		case tt.key == "" && len(got) != 0:
			t.Errorf("%s is refused: %q", name, got)
		case tt.key != "" && (len(got) != 1 || !strings.HasPrefix(got[0], tt.key+": ") || !strings.Contains(got[0], tt.says)):
			t.Errorf("%s: got %q, want one report of %s saying %q", name, got, tt.key, tt.says)
		}
	}
}

func TestModes(t *testing.T) {
	for mode, want := range map[Mode][2]bool{ModePubSub: {false, true}, ModeStream: {true, false}, ModeBoth: {true, true}} {
		if got := [2]bool{mode.Streams(), mode.Publishes()}; got != want {
			t.Errorf("%s: streams and publishes %v, want %v", mode, got, want)
		}
	}
}
