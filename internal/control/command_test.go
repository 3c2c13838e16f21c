package control

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	deep := `{"id":"d","command":"set","controls":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`
	for _, c := range []struct{ text, want string }{
		{`{"id":"1","command":"status"}`, ""},
		{`{"command":"status"}`, ""},
		{`{"id":"1","command":"restart","camera":"cam1","timeout_ms":500}`, ""},
		{`{"id":"1","command":"set","camera":"cam1","publish_fps":0,"quality":80,"controls":{"exposure":250}}`, ""},
		{`{"id":"1","command":"reboot"}`, `no command "reboot"; there are events, reload, restart, set, start, status, stop`},
		{`{"id":"1"}`, `command is missing; there are events, reload`},
		{`{"id":"1","command":7}`, "command is 7, expected a string"},
		{`{"id":"1","Command":"status"}`, "command is missing"},
		{`{"id":"1","command":"status","camera":"cam1"}`, `unknown key "camera"; status has id, command, timeout_ms, instance`},
		{`{"id":"1","command":"set","camera":"cam1","fps":3}`, `unknown key "fps"; set has id, command, timeout_ms, instance, camera, publish_fps, quality, controls`},
		{`{"id":"1","command":"set","camera":"cam1"}`, "nothing to set"},
		{`{"id":"1","command":"set","camera":"cam1","quality":null}`, "quality is null, expected a whole number"},
		{`{"id":"1","command":"set","camera":"cam1","quality":8.5}`, "quality is 8.5, expected a whole number"},
		{`{"id":"1","command":"set","camera":"cam1","publish_fps":"10"}`, `publish_fps is "10", expected a number`},
		{`{"id":"1","command":"set","camera":"cam1","controls":{"gain":"high"}}`, "expected an object of whole numbers"},
		{`{"id":"1","command":"set","camera":"cam1","controls":{"":1}}`, "a control's name has 0 bytes"},
		{`{"id":"1","command":"stop","camera":"` + strings.Repeat("x", 65) + `"}`, "camera is longer than 64 bytes"},
		{`{"id":"1","command":"status","instance":"0a1b2c"}`, ""},
		{`{"id":"1","command":"status","instance":7}`, "instance is 7, expected a string"},
		{`{"id":1,"command":"status"}`, "id is a number, expected a string"},
		{`{"id":"1","command":"status","timeout_ms":0}`, "timeout_ms is 0, expected 1 to 600000"},
		{`stop cam1`, `not JSON: invalid character 's' looking for beginning of value; expected one object such as {"id": "1", "command"`},
		{`["stop"]`, "a JSON list; expected one object such as"},
		{deep, "nested deeper than 32"},
		{`{"id":"` + strings.Repeat("x", 70000) + `"}`, "70009 bytes, at most 65536 are allowed"},
		{"{\"id\":\"\xff\"}", "not valid UTF-8"},
	} {
		got, err := Parse([]byte(c.text))
		switch {
		case c.want == "" && err != nil, c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%.80s: got %v, want %q", c.text, err, c.want)
		case strings.Contains(c.text, `"id":"1"`) && got.ID != "1":
			t.Errorf("%.80s: got id %q, want it for the answer", c.text, got.ID)
		}
	}
	c, err := Parse([]byte(`{"id":"7","command":"set","camera":"cam1","publish_fps":2.5,"controls":{"gain":-3},"timeout_ms":1500}`))
	if err != nil || c.ID != "7" || c.Name != Set || c.Camera != "cam1" || *c.Settings.PublishFPS != 2.5 || c.Settings.Quality != nil ||
		c.Settings.Controls["gain"] != -3 || c.Timeout != 1500*time.Millisecond {
		t.Errorf("got %+v, %v", c, err)
	}
	if _, err := Parse(nil); !errors.Is(err, ErrCommand) {
		t.Errorf("nothing: got %v, want ErrCommand", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(sample))
	f.Add([]byte(`{"id":"1","command":"set","camera":"c","publish_fps":1e9,"quality":-1,"controls":{"a":1}}`))
	f.Add([]byte(`{"command":"reload","timeout_ms":1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Parse(b)
		if err == nil {
			if keys, known := keysOf(c.Name); !known || len(keys) == 0 {
				t.Errorf("took %q", b)
			}
			if c.Name == Set && c.Settings.Empty() {
				t.Errorf("took an empty set: %q", b)
			}
		}
		r, rerr := ParseReply(encode(&c, NewRivals("box1", Identity{}, nil), nil, err, time.Now()))
		if rerr != nil || (r.Status == OK) != (err == nil) {
			t.Errorf("its answer cannot be read: %v, %+v", rerr, r)
		}
		if err == nil && r.ID != c.ID {
			t.Errorf("the answer has id %q, the command %q", r.ID, c.ID)
		}
	})
}

func FuzzParseReply(f *testing.F) {
	f.Add([]byte(`{"id":"1","status":"ok","result":{},"time_us":1}`))
	f.Fuzz(func(_ *testing.T, b []byte) {
		if r, err := ParseReply(b); err == nil {
			_ = r.Err()
		}
	})
}

// An answer that some Redis would end the connection for becomes one that says so.
func TestAnAnswerThatIsTooLarge(t *testing.T) {
	c := &Command{ID: "1", Name: Status}
	long := strings.Repeat("x", 2<<20)
	for name, text := range map[string][]byte{
		"result":  encode(c, NewRivals("box1", Identity{}, nil), map[string]string{"a": long}, nil, time.Now()),
		"failure": encode(c, NewRivals("box1", Identity{}, nil), nil, errors.New(long), time.Now()),
	} {
		r, err := ParseReply(text)
		if err != nil || r.ID != "1" || r.Status != Error || !strings.Contains(r.Error, "more than the 1032192 that every Redis accepts") || len(text) > 1000 {
			t.Errorf("%s: got %.300s (%v)", name, text, err)
		}
	}
}
