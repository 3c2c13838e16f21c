package frame

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"testing"
)

func FuzzParseID(f *testing.F) {
	for _, seed := range []string{"1-1", "0-0", "01-1", "18446744073709551615-0", "-", "", "1-2-3"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		id, err := ParseID(text)
		if err != nil {
			if !errors.Is(err, ErrID) || !id.IsZero() || len(err.Error()) > 300 {
				t.Fatalf("ParseID(%q) = %v, %v", text, id, err)
			}
			return
		}
		if id.IsZero() {
			if text != "0-0" {
				t.Fatalf("%q is the zero ID", text)
			}
		} else if id.String() != text {
			t.Fatalf("%q is written as %q", text, id)
		}
		var again ID
		if err := again.UnmarshalText([]byte(id.String())); err != nil || again != id {
			t.Fatalf("%q reads back as %v, %v", text, again, err)
		}
	})
}

func FuzzParseHeader(f *testing.F) {
	for _, s := range samples() {
		m, err := NewMessage(s.header, s.image)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(m.HeaderJSON())
	}
	f.Add([]byte(`{"status":"ok","request":null,"previous":null,"later":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := ParseHeader(data)
		if err != nil {
			return
		}
		first, err := json.Marshal(&h)
		if err != nil {
			t.Fatalf("accepted header does not encode: %v", err)
		}
		again, err := ParseHeader(first)
		if err != nil {
			t.Fatalf("re-encoded header is refused: %v\n%s", err, first)
		}
		second, err := json.Marshal(&again)
		if err != nil || !bytes.Equal(first, second) {
			t.Fatalf("header changes when read again:\n%s\n%s (%v)", first, second, err)
		}
	})
}

func FuzzParseMessage(f *testing.F) {
	for _, s := range samples() {
		m, err := NewMessage(s.header, s.image)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(m.Wire())
	}
	f.Add([]byte("{\"status\":\"ok\",\"bytes\":3}\nabc"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ParseMessage(data)
		if err != nil {
			return
		}
		if m.Size() != len(data) || len(m.HeaderJSON())+1+len(m.Image()) != len(data) || m.Header.Bytes != len(m.Image()) {
			t.Fatalf("parts do not add up: %d header, %d image, %d in all", len(m.HeaderJSON()), len(m.Image()), len(data))
		}
		joined, err := ParseEntry(map[string]any{"header": string(m.HeaderJSON()), "image": string(m.Image())})
		if err != nil || !reflect.DeepEqual(joined.Header, m.Header) || !bytes.Equal(joined.Wire(), data) {
			t.Fatalf("the parts join to something else: %v", err)
		}
		built, err := NewMessage(m.Header, m.Image())
		if err != nil {
			if len(m.HeaderJSON()) < MaxHeader/8 { // JSON escapes can grow sixfold
				t.Fatalf("accepted message does not encode: %v", err)
			}
			return
		}
		again, err := ParseMessage(built.Wire())
		if err != nil || !bytes.Equal(again.Image(), m.Image()) || again.Header.ID != m.Header.ID || again.Header.Status != m.Header.Status {
			t.Fatalf("message changes when built again: %v", err)
		}
	})
}

func FuzzParseRequest(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"angle":25}`, `{"id":"a","timeout_ms":250,"max_age_ms":1.5}`, `{"id":5}`, `[`, `{"a":"\"[{"}`, "{\"a\":\"\xff\"}", `{"timeout_ms":1e400}`, nested(33),
		`{"a":"\ud83d\ude00\ud83d","b":[-1.5e+3,{"b":"b:"}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ParseRequest(data)
		if len(r.Object) > MaxRequestBytes || len(r.ID) > MaxRequestID || bytes.IndexByte(r.Object, '\n') >= 0 {
			t.Fatalf("beyond its bounds: %d bytes, id of %d, %q", len(r.Object), len(r.ID), r.Object)
		}
		if r.Timeout < 0 || r.Timeout > MaxTimeout || r.MaxAge < 0 || r.MaxAge > MaxAge {
			t.Fatalf("timeout %s, max age %s", r.Timeout, r.MaxAge)
		}
		if err != nil {
			if !errors.Is(err, ErrRequest) || len(err.Error()) > 1000 {
				t.Fatalf("error %v", err)
			}
		}
		if r.Object == nil {
			return
		}
		again, err2 := ParseRequest(r.Object)
		if (err == nil) != (err2 == nil) || !reflect.DeepEqual(again, r) {
			t.Fatalf("reads again as %+v, %v; was %+v, %v", again, err2, r, err)
		}
		m, err := NewMessage(Header{Status: StatusError, Request: r.Object}, nil)
		if err != nil {
			t.Fatalf("no reply can echo it: %v", err)
		}
		if _, err := ParseMessage(m.Wire()); err != nil {
			t.Fatalf("its echo cannot be read: %v", err)
		}
	})
}
