package bytesize

import (
	"math"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]Size{
		"0": 0, "0B": 0, "1": 1, "1B": 1, "1024": 1024, "007KiB": 7 * KiB,
		"64MiB": 64 << 20, "1GiB": 1 << 30, "2TiB": 2 << 40, "3KiB": 3 << 10,
		"5kB": 5000, "5KB": 5000, "5MB": 5e6, "5GB": 5e9, "5TB": 5e12,
		"1.5KiB": 1536, "0.5GiB": 1 << 29, ".5KiB": 512, "2.KiB": 2048,
		" 64 MiB ": 64 << 20, "9007199254740993B": 9007199254740993, "9223372036854775807": math.MaxInt64,
	} {
		if got, err := Parse(text); err != nil || got != want {
			t.Errorf("Parse(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{
		"", " ", "MiB", "-1", "-1MiB", "+1MiB", "1e3", "1e3MiB", "0x10", "inf", "NaN", "infB", "1_000", "1,5MiB", "1.2.3", ".", ".MiB",
		"64mib", "64M", "64 Mi B", "64MiB/s", "MiB64", "9223372036854775808", "8388608TiB", "9999999999999999999999TiB", "99999999.5TiB", "١KiB",
	} {
		got, err := Parse(text)
		if err == nil || got != 0 {
			t.Errorf("Parse(%q) = %d, %v; want an error", text, got, err)
		} else if !strings.Contains(err.Error(), "such as 64MiB") {
			t.Errorf("Parse(%q): error %q does not say what is expected", text, err)
		}
	}
}

func TestString(t *testing.T) {
	for size, want := range map[Size]string{
		0: "0B", 1: "1B", 1000: "1000B", 1024: "1KiB", 1536: "1536B", 64 * MiB: "64MiB", 1024 * MiB: "1GiB", 3 * TiB: "3TiB", 1025 * KiB: "1025KiB",
	} {
		if got := size.String(); got != want {
			t.Errorf("%d bytes are %q, want %q", int64(size), got, want)
		}
	}
}

func TestText(t *testing.T) {
	size := 7 * MiB
	if err := size.UnmarshalText([]byte("x")); err == nil || size != 7*MiB {
		t.Errorf("a bad text gave %v and the size %v, want an error and 7MiB", err, size)
	}
	if err := size.UnmarshalText([]byte("2GiB")); err != nil || size != 2*GiB {
		t.Errorf("2GiB read as %v, %v", size, err)
	}
	if text, err := size.MarshalText(); err != nil || string(text) != "2GiB" {
		t.Errorf("2GiB written as %s, %v", text, err)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"64MiB", "1.5KiB", "9223372036854775807", "1e3", "B", "0.0000001TiB"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		size, err := Parse(text)
		if err != nil {
			return
		}
		if size < 0 {
			t.Fatalf("%q is %d bytes", text, size)
		}
		if again, err := Parse(size.String()); err != nil || again != size {
			t.Fatalf("%q is %d bytes, written %q, read back as %d, %v", text, size, size, again, err)
		}
	})
}
