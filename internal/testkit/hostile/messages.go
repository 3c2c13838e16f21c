package hostile

import (
	"fmt"
	"strings"
)

// Message is one that no agent sends, on the channel of its answers or in its stream.
type Message struct {
	Name   string
	Header string
	Image  string
	Cut    bool // no newline: the header is all there is
}

// Wire is the message as it is published.
func (m Message) Wire() string {
	if m.Cut {
		return m.Header
	}
	return m.Header + "\n" + m.Image
}

// large is a message that Redis still has room for, in front of a subscriber.
const large = 20 << 20

// Messages are the hostile messages.
func Messages() []Message {
	whole := func(more string) string {
		return fmt.Sprintf(`{"camera":"greencam1","id":"7-1","status":"error","error":"no","bytes":0,"request":{}%s}`, more)
	}
	header := func(key, value string) string {
		return whole(fmt.Sprintf(`,%q:%s`, key, value))
	}
	all := []Message{
		{Name: "nothing", Cut: true},
		{Name: "a newline"},
		{Name: "not JSON", Header: "not JSON", Image: "x"},
		{Name: "not UTF-8", Header: "\xff\xfe\xf8\x80", Image: "x"},
		{Name: "not UTF-8 in JSON", Header: "{\"status\":\"\xff\",\"id\":\"\xed\xa0\x80\"}", Image: "x"},
		{Name: "NUL", Header: "\x00\x00\x00\x00", Image: "\x00"},
		{Name: "cut JSON", Header: `{"camera":"greencam1","status":"ok`, Image: "x"},
		{Name: "two objects", Header: whole("") + whole(""), Image: "x"},
		{Name: "no newline", Header: whole(""), Cut: true},
		{Name: "a newline in the header", Header: "{\n" + whole("")[1:], Image: "x"},
		{Name: "missing fields", Header: "{}"},
		{Name: "ok and nothing else", Header: `{"status":"ok"}`, Image: "x"},
		{Name: "ok, no request", Header: `{"status":"ok","id":"7-1","bytes":2}`, Image: "x"},
		{Name: "declaration without fields", Header: `{"status":"dropped"}`},
		{Name: "start without fields", Header: `{"status":"started"}`},
		{Name: "image shorter than bytes", Header: `{"status":"ok","id":"7-1","bytes":100}`, Image: "short"},
		{Name: "image longer than bytes", Header: `{"status":"ok","id":"7-1","bytes":1}`, Image: "longer"},
		{Name: "keys in capitals", Header: `{"STATUS":"ok","Id":"7-1","Bytes":1}`, Image: "x"},
		{Name: "duplicate keys", Header: `{"status":"ok","status":5,"bytes":1,"bytes":[]}`, Image: "x"},
		{Name: "control characters", Header: header("error", "\"\\u001b[2J\\u0007\\u009b31m\\u202e\""), Image: "\x1b[2J"},
		{Name: "raw control characters", Header: header("error", "\"\x1b[2J\x07\""), Image: "\x1b[2J"},
		{Name: "a lone surrogate", Header: header("error", `"\ud800"`)},
		{Name: "a lone surrogate as a key", Header: header(`\ud800`, `1`)},
		{Name: "wrong crc", Header: header("crc32c", `"00000000"`)},
		{Name: "no crc", Header: header("crc32c", `"xyz"`)},
		{Name: "an integer of 5000 digits", Header: header("captured_us", strings.Repeat("9", 5000))},
		{Name: "1e999", Header: header("captured_us", "1e999")},
		{Name: "NaN", Header: header("captured_us", "NaN")},
		{Name: "very deep", Header: strings.Repeat("[", 200_000) + strings.Repeat("]", 200_000)},
		{Name: "deep objects", Header: strings.Repeat(`{"request":`, 100_000) + "1" + strings.Repeat("}", 100_000)},
		{Name: "many keys", Header: "{" + strings.Repeat(`"a":1,`, 100_000) + `"b":1}`},
		{Name: "a large image", Header: `{"status":"ok","id":"7-1","bytes":5}`, Image: strings.Repeat("x", large)},
		{Name: "a large header", Header: `{"status":"ok","error":"` + strings.Repeat("x", large) + `"}`, Image: "x"},
		{Name: "large, and no newline", Header: strings.Repeat("x", large), Cut: true},
	}
	for _, value := range []string{"null", "5", `"text"`, "[]", "{}"} {
		all = append(all, Message{Name: "a header that is " + value, Header: value, Image: "x"})
		for _, key := range []string{"status", "id", "bytes", "request", "first", "previous"} {
			all = append(all, Message{
				Name:   fmt.Sprintf("%s that is %s", key, value),
				Header: fmt.Sprintf(`{"camera":"greencam1","id":"7-1","status":"ok","bytes":9,%q:%s}`, key, value), Image: "x",
			})
		}
		for _, status := range []string{"dropped", "started"} {
			all = append(all, Message{
				Name:   fmt.Sprintf("%s with %s", status, value),
				Header: fmt.Sprintf(`{"status":%q,"id":%s,"first":%[2]s,"last":%[2]s,"count":%[2]s,"reason":%[2]s,"previous":%[2]s,"clean":%[2]s}`, status, value),
			})
		}
	}
	return all
}

// Entry is an entry of a stream that no agent adds.
type Entry struct {
	ID     string
	Fields []any // names and values in turn
}

// Entries are hostile entries in ascending order, none beyond 18446744073709551615-8.
func Entries() []Entry {
	all := []Entry{
		{"0-1", []any{"a", "b"}},
		{"0-18446744073709551615", []any{"header", "{}"}},
		{"1-0", []any{"image", "no header"}},
		{"1-1", []any{"", ""}},
		{"1-2", []any{"header", `{"status":"ok","bytes":1}`}}, // no image
		{"1-3", []any{"image", "x", "header", `{"status":"ok","id":"1-3","bytes":1}`}},
		{"1-4", []any{"header", "no JSON", "header", `{"status":"ok","id":"1-4","bytes":5}`, "image", "twice", "image", "again"}},
		{"1-5", []any{"Header", `{"status":"ok","id":"1-5","bytes":1}`, "Image", "x"}},
		{"1-6", []any{"header\n", `{"status":"ok"}`, "\x00", "\x00"}},
		{"1-7", []any{"header", `{"status":"ok","id":"9-9","bytes":1}`, "image", "x"}},
	}
	for i, m := range Messages() {
		all = append(all, Entry{fmt.Sprintf("2-%d", 10*i), []any{"header", m.Header, "image", m.Image}})
	}
	return append(all,
		Entry{"9223372036854775808-1", []any{"header", `{"status":"ok","id":"9223372036854775808-1","bytes":1}`, "image", "xy"}},
		Entry{"18446744073709551614-18446744073709551615", []any{"header", "{}", "image", ""}},
		Entry{"18446744073709551615-7", []any{"header", `{"status":"started","previous":"18446744073709551615-18446744073709551615"}`, "image", ""}},
	)
}
