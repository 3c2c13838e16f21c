package config

import (
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

// decodeTOML reads the text and finds the line of each path in it. Of a text
// that is not TOML only the first mistake can be reported.
func decodeTOML(path string, data []byte) (raw map[string]any, lines map[string]int, problem *Problem) {
	meta, err := toml.Decode(string(data), &raw)
	if err == nil {
		return raw, findLines(string(data), meta), nil
	}
	p := &Problem{File: path, What: strings.TrimPrefix(err.Error(), "toml: ")}
	var syntax toml.ParseError
	if errors.As(err, &syntax) {
		p.Line, p.What = syntax.Position.Line, syntax.Message
		if strings.Contains(p.What, " name") && strings.HasSuffix(p.What, `got '\n' instead`) {
			p.Line-- // the decoder counts the end of a [table]'s line to the next
		}
		if !strings.HasPrefix(p.What, "Key '") && strings.ContainsAny(punctuation.ReplaceAllString(p.What, ""), "'\"`") {
			p.What = quotation.ReplaceAllString(p.What, "…") // which could be a password
		}
	}
	p.What = "not valid TOML: " + strings.ReplaceAll(p.What, "\n", " ")
	return nil, nil, p
}

var (
	// quotation is everything between the first and the last quote of a message.
	quotation = regexp.MustCompile(`(?s)["'` + "`" + `].*["'` + "`" + `]`)
	// punctuation is a single character in single quotes, such as was expected.
	punctuation = regexp.MustCompile(`'\\?.'`)
	// token is a string, a comment or a word; with a '=' or ']' behind it it may be the end of a key.
	token = regexp.MustCompile(`(?s)"""(?:\\.|[^\\])*?"{3,5}|'''.*?'{3,5}|#[^\n]*|("(?:\\.|[^"\\\n])*"|'[^'\n]*'|[\w-]+)[ \t]*([=\]]?)`)
)

// findLines maps the paths of keys and tables to their lines. The decoder has
// the keys in their order in the text; each stands where its last word comes
// next. What stands in a list in one pair of brackets has the list's line.
func findLines(text string, meta toml.MetaData) map[string]int {
	lines, tables := make(map[string]int), make(map[string]int)
	mark := func(path string, line int) {
		if lines[path] == 0 {
			lines[path] = line
		}
	}
	tokens, line, pos := token.FindAllStringSubmatchIndex(text, -1), 1, 0
	for _, key := range meta.Keys() {
		for i, t := range tokens {
			if t[4] < t[5] && strings.Trim(text[t[2]:t[3]], `"'`) == key[len(key)-1] {
				line += strings.Count(text[pos:t[0]], "\n")
				tokens, pos = tokens[i+1:], t[0]
				break
			}
		}
		path := ""
		for i, word := range key {
			path = join(path, word)
			mark(path, line)
			kind := meta.Type(key[:i+1]...)
			if kind == "Array" {
				break
			}
			if kind == "ArrayHash" {
				if i == len(key)-1 {
					tables[path]++
				}
				path = itemPath(path, tables[path]-1)
				mark(path, line)
			}
		}
	}
	return lines
}

// set stores a value as TOML gives it, or returns what was expected. It is ours
// because the decoder stops at the first wrong type and takes a bare number for
// nanoseconds.
func set(field reflect.Value, raw any) (expected string) {
	text, quoted := raw.(string)
	switch target := field.Addr().Interface().(type) {
	case *time.Duration:
		d, err := time.ParseDuration(text)
		if !quoted {
			return `a duration in quotes and with a unit, such as "600ms"`
		} else if err != nil {
			return "a duration such as 600ms"
		}
		*target = d
		return ""
	case *bytesize.Size:
		if !quoted {
			return "a size such as 64MiB, in quotes"
		} else if target.UnmarshalText([]byte(text)) != nil {
			return "a size such as 64MiB"
		}
		return ""
	case *[]string:
		items, ok := raw.([]any)
		list := make([]string, len(items))
		for i, item := range items {
			var isText bool
			list[i], isText = item.(string)
			ok = ok && isText
		}
		if !ok {
			return `a list of strings such as ["a:1", "b:2"]`
		}
		*target = list
		return ""
	}
	kind, value := field.Kind(), reflect.ValueOf(raw)
	whole := value.Kind() == reflect.Int64 && (kind == reflect.Float64 || kind == reflect.Int && !field.OverflowInt(value.Int()))
	if !whole && value.Kind() != kind {
		return kinds[kind]
	}
	field.Set(value.Convert(field.Type()))
	return ""
}

// kinds are what is expected for a field of each kind.
var kinds = map[reflect.Kind]string{
	reflect.String: "a string in quotes", reflect.Int: "a whole number", reflect.Int64: "a whole number",
	reflect.Float64: "a number", reflect.Bool: "true or false",
}

// setText stores the text of a variable.
func setText(field reflect.Value, text string) (expected string) {
	expected = set(field, text)
	n, err := strconv.ParseInt(text, 10, 64)
	f, ferr := strconv.ParseFloat(text, 64)
	switch {
	case expected == "" || field.Type() == reflect.TypeFor[time.Duration]():
	case field.Kind() == reflect.Bool && (text == "true" || text == "false"):
		return set(field, text == "true")
	case err == nil && field.Kind() == reflect.Int:
		return set(field, n)
	case ferr == nil && field.Kind() == reflect.Float64:
		return set(field, f)
	}
	return expected
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
