package config

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"framekeeper/internal/bytesize"
)

// decodeTOML reads the text. Of a text that is not TOML
// only the first mistake can be reported.
func decodeTOML(path string, data []byte) (map[string]any, *Problem) {
	raw := make(map[string]any)
	err := toml.Unmarshal(data, &raw)
	if err == nil {
		return raw, nil
	}
	p := &Problem{File: path, What: "not valid TOML: " + strings.TrimPrefix(err.Error(), "toml: ")}
	var syntax toml.ParseError
	if errors.As(err, &syntax) {
		p.Line = syntax.Position.Line
		if strings.Contains(syntax.Message, " name") && strings.HasSuffix(syntax.Message, `got '\n' instead`) {
			p.Line-- // the decoder counts the end of a [table]'s line to the next
		}
		p.What = "not valid TOML: " + syntax.Message
		if !strings.HasPrefix(syntax.Message, "Key '") && quotesText(p.What) && mayHoldSecret(data, p.Line, syntax.LastKey) {
			p.What = quotation.ReplaceAllString(p.What, "…")
		}
	}
	p.What = strings.ReplaceAll(p.What, "\n", " ")
	return nil, p
}

// quotation is everything between the first and the last quote of a message.
var quotation = regexp.MustCompile(`(?s)["'` + "`" + `].*["'` + "`" + `]`)

// punctuation is a single character in single quotes.
var punctuation = regexp.MustCompile(`'\\?.'`)

// quotesText: the message quotes more than single characters, which are what
// was expected and tell nothing of a password.
func quotesText(message string) bool {
	return strings.ContainsAny(punctuation.ReplaceAllString(message, ""), "'\"`")
}

// mayHoldSecret: the decoder's messages quote the text, which on such a line
// could be a password.
func mayHoldSecret(data []byte, line int, key string) bool {
	text := key
	if lines := strings.Split(string(data), "\n"); line >= 1 && line <= len(lines) {
		text += lines[line-1]
	}
	text = strings.ToLower(text)
	for _, word := range []string{"url", "source", "pass", "secret", "://", "@"} {
		if strings.Contains(text, word) {
			return true
		}
	}
	return false
}

// set stores a value as TOML gives it, or says what was expected. It is ours
// because the decoder stops at the first wrong type and takes a bare number for
// nanoseconds.
func set(field reflect.Value, raw any) (expected string) {
	if _, ok := field.Interface().(time.Duration); ok {
		return setDuration(field, raw)
	}
	if text, ok := field.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return setText(text, raw)
	}
	switch field.Kind() {
	case reflect.String:
		return setString(field, raw)
	case reflect.Int, reflect.Int64:
		n, ok := raw.(int64)
		if !ok || field.OverflowInt(n) {
			return "a whole number"
		}
		field.SetInt(n)
	case reflect.Float64:
		switch n := raw.(type) {
		case float64:
			field.SetFloat(n)
		case int64:
			field.SetFloat(float64(n))
		default:
			return "a number"
		}
	case reflect.Bool:
		b, ok := raw.(bool)
		if !ok {
			return "true or false"
		}
		field.SetBool(b)
	case reflect.Slice:
		return setList(field, raw)
	default:
		return "nothing: this program cannot read a " + field.Type().String()
	}
	return ""
}

func setString(field reflect.Value, raw any) string {
	s, ok := raw.(string)
	if !ok {
		return "a string in quotes"
	}
	field.SetString(s)
	return ""
}

func setDuration(field reflect.Value, raw any) string {
	s, ok := raw.(string)
	if !ok {
		return `a duration in quotes and with a unit, such as "600ms"`
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return "a duration such as 600ms"
	}
	field.SetInt(int64(d))
	return ""
}

func setText(text encoding.TextUnmarshaler, raw any) string {
	expected := "another value"
	if _, ok := text.(*bytesize.Size); ok {
		expected = "a size such as 64MiB"
	}
	s, ok := raw.(string)
	if !ok {
		return expected + ", in quotes"
	}
	if text.UnmarshalText([]byte(s)) != nil {
		return expected
	}
	return ""
}

func setList(field reflect.Value, raw any) string {
	const expected = `a list of strings such as ["a:1", "b:2"]`
	items, ok := raw.([]any)
	if !ok {
		return expected
	}
	list := reflect.MakeSlice(field.Type(), len(items), len(items))
	for i, item := range items {
		if setString(list.Index(i), item) != "" {
			return expected
		}
	}
	field.Set(list)
	return ""
}

// show is a value as it may appear in a report.
func show(raw any) string {
	switch v := raw.(type) {
	case string:
		return strconv.Quote(clip(v))
	case []any, []map[string]any:
		return "a list"
	case map[string]any:
		return "a table"
	case time.Time:
		return "a date or time"
	default:
		return clip(fmt.Sprint(v))
	}
}

func clip(s string) string {
	const longest = 80
	if runes := []rune(s); len(runes) > longest {
		return string(runes[:longest]) + "…"
	}
	return s
}

// hideUser takes out what stands before an '@', for the sections' own ways of
// showing a URL only cover well-formed ones.
func hideUser(value string) string {
	end := strings.LastIndexByte(value, '@')
	if end < 0 {
		return value
	}
	scheme, _, ok := strings.Cut(value[:end], ":")
	if !ok {
		return "…" + value[end:]
	}
	return scheme + ":…" + value[end:]
}
