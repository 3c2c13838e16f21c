package frame

import (
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
)

func TestParseID(t *testing.T) {
	for text, want := range map[string]ID{
		"1-1":          {1, 1},
		"1700000000-0": {1700000000, 0},
		"0-5":          {0, 5},
		"0-0":          {}, // what Redis says of an empty stream
		"18446744073709551615-18446744073709551615": {math.MaxUint64, math.MaxUint64},
	} {
		got, err := ParseID(text)
		if err != nil || got != want {
			t.Errorf("ParseID(%q) = %v, %v; want %v", text, got, err, want)
		}
		if !want.IsZero() && got.String() != text {
			t.Errorf("%q is written as %q", text, got)
		}
	}
}

func TestParseIDRefuses(t *testing.T) {
	for _, text := range []string{
		"", "-", "1", "1-", "-1", "1--1", "1-2-3", "+1-1", "1-+1", "01-1", "1-01", "00-0", " 1-1", "1-1 ", "1-1\n", "a-1", "1-b",
		"1_0-1", "0x1-1", "1.0-1", "1-*", "$", "18446744073709551616-1", "1-18446744073709551616", strings.Repeat("1", 1000) + "-1",
	} {
		id, err := ParseID(text)
		if !errors.Is(err, ErrID) || !id.IsZero() {
			t.Errorf("ParseID(%q) = %v, %v; want ErrID", text, id, err)
		}
		if err != nil && len(err.Error()) > 200 {
			t.Errorf("ParseID of %d bytes gives an error of %d", len(text), len(err.Error()))
		}
	}
}

func TestIDOrder(t *testing.T) {
	ordered := []ID{{}, {0, 1}, {1, 0}, {1, 1}, {1, 9}, {1, 10}, {2, 0}, {10, 0}, {math.MaxUint64, 1}}
	for i, a := range ordered {
		for j, b := range ordered {
			if got := a.Less(b); got != (i < j) {
				t.Errorf("%v.Less(%v) = %v", a, b, got)
			}
		}
	}
	shuffled := []ID{ordered[5], ordered[0], ordered[8], ordered[2]}
	slices.SortFunc(shuffled, ID.Compare)
	if want := []ID{ordered[0], ordered[2], ordered[5], ordered[8]}; !slices.Equal(shuffled, want) {
		t.Errorf("sorted %v, want %v", shuffled, want)
	}
	if next := (ID{7, 9}).Next(); next != (ID{7, 10}) {
		t.Errorf("Next of 7-9 is %v, want 7-10", next)
	}
}

func TestIDInJSON(t *testing.T) {
	var v struct {
		A, B ID
		P    *ID `json:",omitempty"`
	}
	v.A = ID{3, 4}
	out, err := json.Marshal(v)
	if want := `{"A":"3-4","B":""}`; err != nil || string(out) != want {
		t.Fatalf("got %s, %v; want %s", out, err, want)
	}
	v.B = ID{9, 9}
	if err := json.Unmarshal([]byte(`{"A":"5-6","B":"","P":"7-8"}`), &v); err != nil || v.A != (ID{5, 6}) || !v.B.IsZero() || *v.P != (ID{7, 8}) {
		t.Errorf("read %+v, %v", v, err)
	}
	if err := json.Unmarshal([]byte(`{"A":"x"}`), &v); !errors.Is(err, ErrID) {
		t.Errorf("got error %v, want ErrID", err)
	}
}
