package frame

import (
	"errors"
	"strings"
	"testing"
)

// What Python, Node, jq or Java reject in an echo, or read differently, ends simple readers: no
// answer may carry it.
func TestParseRequestRefusesWhatSomeParserRejects(t *testing.T) {
	for name, tt := range map[string]struct{ in, says string }{
		"integer of 301 digits":   {`{"a":` + strings.Repeat("9", 301) + `}`, "301 digits, at most 300"},
		"nested":                  {`{"a":{"b":[1,-` + strings.Repeat("1", 4301) + `]}}`, "4301 digits"},
		"decimals":                {`{"a":0.` + strings.Repeat("1", 300) + `}`, "301 digits"},
		"exponent":                {`{"a":1e` + strings.Repeat("9", 60000) + `}`, "digits"},
		"beyond a double":         {`{"a":1e400}`, "1e400 is beyond the range of a double"},
		"below a double":          {`{"a":[-1E+309]}`, "beyond the range"},
		"high surrogate":          {`{"a":"x\ud800"}`, "lone surrogate"},
		"high surrogate and text": {`{"a":"\uD800A"}`, "lone surrogate"},
		"high surrogate, escape":  {`{"a":"\uD800\n"}`, "lone surrogate"},
		"two high surrogates":     {`{"a":"\ud83d\ud83d\ude00"}`, "lone surrogate"},
		"low surrogate":           {`{"a":"\uDE00"}`, "lone surrogate"},
		"surrogate in a key":      {`{"\udfff":1}`, "lone surrogate"},
		"key twice":               {`{"a":1,"b":2,"a":3}`, `the key "a" twice`},
		"key twice, escaped":      {`{"id":"x","\u0069d":"y"}`, `the key "id" twice`},
		"key twice, nested":       {`{"a":[{"x":{}},{"x":1,"y":[{"x":1}],"x":2}]}`, `the key "x" twice`},
	} {
		r, err := ParseRequest([]byte(tt.in))
		if !errors.Is(err, ErrRequest) || !strings.Contains(err.Error(), tt.says) || len(err.Error()) > 300 {
			t.Errorf("%s: got error %v, want a refusal that says %q", name, err, tt.says)
		}
		if r.Object != nil || r.ID != "" {
			t.Errorf("%s: echoes %.60s, id %q", name, r.Object, r.ID)
		}
	}
	for name, in := range map[string]string{
		"300 digits":       `{"a":` + strings.Repeat("9", 300) + `}`,
		"largest double":   `{"a":[1.7976931348623157e308,-1.7976931348623157E+308,1e-400,-0,0.5]}`,
		"surrogate pair":   `{"a":"\ud83d\ude00\uD83D\uDE00","\ud83d\ude00":"\\ud800"}`,
		"same key nested":  `{"a":{"a":[{"a":1},{"a":2}]},"b":"a","A":3}`,
		"strings as lists": `{"a":["a","a","a:"],"b":":","c":[[],{}],"d":"\":\""}`,
	} {
		r, err := ParseRequest([]byte(in))
		if err != nil || string(r.Object) != in {
			t.Errorf("%s: got %.100s, %v", name, r.Object, err)
		}
	}
}
