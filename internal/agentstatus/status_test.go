package agentstatus

import (
	"slices"
	"testing"
)

func TestTroubles(t *testing.T) {
	for text, want := range map[string][]string{
		`{"link":{"state":"LIVE","stuck":[]},"capture":{"state":"ok"},"writable":true}`: nil,
		`{"link":{"state":"DOWN"},"capture":{"state":"ok"},"writable":false,"reason":"full"}`: {
			"its link to Redis is DOWN", "Redis does not take its frames: full"},
		`{"link":{"state":"LIVE","stuck":["spool"]},"capture":{"state":"stalled","reason":"no frame for 2s"},"writable":true}`: {
			"parts of it do not return, is a disk hanging? spool", "capture is stalled: no frame for 2s"},
		`{}`: {"its link to Redis is unknown", "capture is unknown", "Redis does not take its frames"},
	} {
		s, err := Parse([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if got := s.Troubles(); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
	if _, err := Parse([]byte(`[]`)); err == nil {
		t.Error("a list was taken for a status")
	}
}
