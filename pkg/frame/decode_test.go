package frame

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

type inner struct {
	Key string `json:"key"`
}

type outer struct {
	inner
	ID      ID               `json:"id"`
	Deep    *inner           `json:"deep"`
	List    []inner          `json:"list"`
	Map     map[string]inner `json:"map"`
	Lists   map[string][]inner
	Raw     json.RawMessage `json:"raw"`
	Bytes   []byte          `json:"bytes"`
	Hidden  string          `json:"-"`
	private string
}

const decodable = `{"key":"a","id":"3-4","deep":{"key":"b"},"list":[{"key":"c"},null],"map":{"k":{"key":"d"}},"Lists":{"k":[{"key":"e"}]},
	"raw":{"KEY":"as it is"},"bytes":"AQI=","later":1,"-":"x","private":"x","inner":{"key":"x"}}`

// Where all keys have their case, Decode is json.Unmarshal.
func TestDecodeAsJSON(t *testing.T) {
	for _, text := range []string{decodable, `{}`, `null`, `{"deep":null,"list":null,"map":null}`, ` { "key" : "a" } `} {
		got, want := outer{inner: inner{"before"}}, outer{inner: inner{"before"}}
		if err := json.Unmarshal([]byte(text), &want); err != nil {
			t.Fatal(err)
		}
		if err := Decode([]byte(text), &got); err != nil || !reflect.DeepEqual(got, want) || got.private != "" {
			t.Errorf("%s: got %+v, %v, want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{``, `{`, `[]`, `7`, `{"key":7}`, `{"deep":{"key":7}}`, `{"list":{}}`, `{"map":[]}`, `{"id":"x"}`, `{} {}`, `{"list":[7]}`} {
		if err := Decode([]byte(text), new(outer)); err == nil {
			t.Errorf("%q: accepted, want an error as json.Unmarshal has", text)
		}
	}
}

// A key of another case is another key, at every depth.
func TestDecodeMatchesKeysExactly(t *testing.T) {
	var want outer
	if err := Decode([]byte(decodable), &want); err != nil {
		t.Fatal(err)
	}
	for _, more := range []string{
		`"KEY":"x"`, `"Id":"9-9"`, `"ID":7`, `"deep":{"key":"b","Key":"x"}`, `"list":[{"key":"c","kEY":"x"},null]`, `"map":{"k":{"KEY":7,"key":"d"}}`,
		`"lists":7`, `"Lists":{"k":[{"key":"e","\u212aey":"x"}]}`, // a Kelvin sign, which folds to k
	} {
		var got outer
		if err := Decode([]byte(strings.TrimSuffix(decodable, "}")+","+more+"}"), &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("with %s: got %+v, %v, want %+v", more, got, err, want)
		}
	}
}

func TestDecodeStrict(t *testing.T) {
	for text, wrong := range map[string]string{
		`{"key":"a","deep":{"key":"b"}}`: "", `{"Key":"a"}`: `unknown field "Key"`, `{"deep":{"kez":1}}`: `deep: unknown field "kez"`,
	} {
		if err := DecodeStrict([]byte(text), new(outer)); (err == nil) != (wrong == "") || err != nil && err.Error() != wrong {
			t.Errorf("%s: got %v, want %q", text, err, wrong)
		}
	}
}

// The id of an answered request is the value of "id", whatever else the request has.
func TestRequestID(t *testing.T) {
	for request, want := range map[string]string{
		`{"id":"a","ID":"b"}`: "a", `{"ID":"b","id":"a"}`: "a", `{"id":"a","ID":7}`: "a", `{"ID":"b"}`: "", `{"id":7}`: "", `[]`: "", ``: "",
	} {
		h := Header{Request: json.RawMessage(request)}
		if got := h.RequestID(); got != want {
			t.Errorf("%s: got id %q, want %q", request, got, want)
		}
	}
	h, err := ParseHeader([]byte(`{"camera":"cam","status":"ok","id":"1-2","ID":"3-4","STATUS":"error","Bytes":-1}`))
	if err != nil || h.Status != StatusOK || h.ID != (ID{1, 2}) || h.Bytes != 0 {
		t.Errorf("header: got %+v, %v, want frame 1-2 with status ok", h, err)
	}
}

func BenchmarkParseHeader(b *testing.B) {
	m, err := NewMessage(Header{
		Camera: "greencam1", ID: ID{1700000000, 12345}, Status: StatusOK, Encoding: JPEG, Width: 1280, Height: 720, CapturedUS: 1700000000000000,
		RequestedUS: 1700000000000000, PublishedUS: 1700000000000000, SensorSeq: 77, Request: json.RawMessage(`{"id":"0123456789abcdef","angle":25,"timeout_ms":5000}`),
	}, make([]byte, 100))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseHeader(m.HeaderJSON()); err != nil {
			b.Fatal(err)
		}
	}
}
