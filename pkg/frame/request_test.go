package frame

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestParseRequest(t *testing.T) {
	for name, tt := range map[string]struct {
		in     string
		object string
		id     string
		wait   time.Duration
		age    time.Duration
	}{
		"empty object":     {`{}`, `{}`, "", 0, 0},
		"any keys":         {`{"angle": 25, "x": [1, {"y": null}]}`, `{"angle":25,"x":[1,{"y":null}]}`, "", 0, 0},
		"reserved":         {`{"id":"a","timeout_ms":250,"max_age_ms":10.5}`, `{"id":"a","timeout_ms":250,"max_age_ms":10.5}`, "a", 250 * time.Millisecond, 10500 * time.Microsecond},
		"whitespace":       {" \n{\"a\"\t:\r\n1}\n", `{"a":1}`, "", 0, 0},
		"case matters":     {`{"ID":5,"Timeout_MS":"x"}`, `{"ID":5,"Timeout_MS":"x"}`, "", 0, 0},
		"limits":           {`{"timeout_ms":600000,"max_age_ms":3600000}`, `{"timeout_ms":600000,"max_age_ms":3600000}`, "", MaxTimeout, MaxAge},
		"shortest":         {`{"timeout_ms":1,"max_age_ms":0}`, `{"timeout_ms":1,"max_age_ms":0}`, "", time.Millisecond, 0},
		"big numbers stay": {`{"n":123456789012345678901234567890,"f":1.10}`, `{"n":123456789012345678901234567890,"f":1.10}`, "", 0, 0},
		"no HTML escapes":  {`{"a":"<&>é\u2028"}`, `{"a":"<&>é\u2028"}`, "", 0, 0},
		"escaped id":       {`{"id":"\u0041\n"}`, `{"id":"\u0041\n"}`, "A\n", 0, 0},
		"brackets in text": {`{"a":"` + strings.Repeat("[{", 100) + `\""}`, `{"a":"` + strings.Repeat("[{", 100) + `\""}`, "", 0, 0},
		"deepest":          {nested(MaxRequestDepth), nested(MaxRequestDepth), "", 0, 0},
		"largest":          {`{"a":"` + strings.Repeat("x", MaxRequestBytes-8) + `"}`, `{"a":"` + strings.Repeat("x", MaxRequestBytes-8) + `"}`, "", 0, 0},
		"longest id":       {`{"id":"` + strings.Repeat("i", MaxRequestID) + `"}`, `{"id":"` + strings.Repeat("i", MaxRequestID) + `"}`, strings.Repeat("i", MaxRequestID), 0, 0},
	} {
		r, err := ParseRequest([]byte(tt.in))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if string(r.Object) != tt.object || r.ID != tt.id || r.Timeout != tt.wait || r.MaxAge != tt.age {
			t.Errorf("%s: got %.100s, %q, %s, %s; want %.100s, %q, %s, %s", name, r.Object, r.ID, r.Timeout, r.MaxAge, tt.object, tt.id, tt.wait, tt.age)
		}
	}
}

// nested is an object that is depth deep.
func nested(depth int) string {
	return `{"a":` + strings.Repeat("[", depth-1) + strings.Repeat("]", depth-1) + `}`
}

func TestParseRequestRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		in   string
		says []string
		id   string // what an error reply could still name
		echo bool
	}{
		"empty":            {"", []string{"not JSON", `{"angle": 25}`}, "", false},
		"text":             {"hello", []string{"not JSON", "expected one object"}, "", false},
		"list":             {`[1]`, []string{"a JSON list", "expected one object"}, "", false},
		"string":           {`"x"`, []string{"a JSON string"}, "", false},
		"number":           {`25`, []string{"a JSON number"}, "", false},
		"boolean":          {`true`, []string{"a JSON boolean"}, "", false},
		"null":             {`null`, []string{"a JSON null"}, "", false},
		"two objects":      {`{}{}`, []string{"not JSON"}, "", false},
		"cut short":        {`{"a":1`, []string{"not JSON"}, "", false},
		"open string":      {`{"a":"`, []string{"not JSON"}, "", false},
		"comma":            {`{"a":1,}`, []string{"not JSON"}, "", false},
		"NaN":              {`{"a":NaN}`, []string{"not JSON"}, "", false},
		"not UTF-8":        {"{\"a\":\"\xff\"}", []string{"not valid UTF-8"}, "", false},
		"too large":        {`{"a":"` + strings.Repeat("x", MaxRequestBytes) + `"}`, []string{"65544 bytes", "at most 65536"}, "", false},
		"too deep":         {nested(MaxRequestDepth + 1), []string{"deeper than 32"}, "", false},
		"much too deep":    {strings.Repeat("[", MaxRequestBytes), []string{"deeper than 32"}, "", false},
		"id number":        {`{"id":5}`, []string{"id is a number", "expected a string"}, "", true},
		"id null":          {`{"id":null}`, []string{"id is a null"}, "", true},
		"id list":          {`{"id":["x"]}`, []string{"id is a list"}, "", true},
		"id long":          {`{"id":"` + strings.Repeat("i", MaxRequestID+1) + `"}`, []string{"id is longer than 256"}, "", true},
		"timeout string":   {`{"id":"a","timeout_ms":"5"}`, []string{"timeout_ms is a string", "number of milliseconds"}, "a", true},
		"timeout zero":     {`{"id":"a","timeout_ms":0}`, []string{"timeout_ms is 0", "1 to 600000"}, "a", true},
		"timeout negative": {`{"id":"a","timeout_ms":-5}`, []string{"timeout_ms is -5"}, "a", true},
		"timeout large":    {`{"timeout_ms":600001}`, []string{"timeout_ms is 600001", "1 to 600000"}, "", true},
		"timeout huge":     {`{"timeout_ms":1e300}`, []string{"timeout_ms is 1e300"}, "", true},
		"timeout object":   {`{"timeout_ms":{}}`, []string{"timeout_ms is a object"}, "", true},
		"age negative":     {`{"max_age_ms":-1}`, []string{"max_age_ms is -1", "0 to 3600000"}, "", true},
		"age large":        {`{"max_age_ms":3600001}`, []string{"max_age_ms is 3600001"}, "", true},
		"age boolean":      {`{"max_age_ms":true}`, []string{"max_age_ms is a boolean"}, "", true},
		"age long text":    {`{"max_age_ms":1` + strings.Repeat("0", 299) + `}`, []string{"max_age_ms is 1000"}, "", true},
	} {
		r, err := ParseRequest([]byte(tt.in))
		if !errors.Is(err, ErrRequest) {
			t.Errorf("%s: got error %v, want ErrRequest", name, err)
			continue
		}
		for _, says := range tt.says {
			if !strings.Contains(err.Error(), says) {
				t.Errorf("%s: error %q does not say %q", name, err, says)
			}
		}
		if len(err.Error()) > 300 {
			t.Errorf("%s: error of %d bytes", name, len(err.Error()))
		}
		if r.ID != tt.id || (r.Object != nil) != tt.echo {
			t.Errorf("%s: kept id %q and object %.60s; want id %q and an object: %v", name, r.ID, r.Object, tt.id, tt.echo)
		}
	}
}
