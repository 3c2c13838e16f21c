package config

import (
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"time"

	"framekeeper/internal/bytesize"
)

// fieldsOf maps the toml tags of a struct to its fields, with those of its
// structs without a tag.
func fieldsOf(target reflect.Value) map[string]reflect.Value {
	fields := make(map[string]reflect.Value)
	for i := range target.NumField() {
		field := target.Field(i)
		switch key := target.Type().Field(i).Tag.Get("toml"); {
		case key != "":
			fields[key] = field
		case field.Kind() == reflect.Struct:
			for key, inner := range fieldsOf(field) {
				fields[key] = inner
			}
		}
	}
	return fields
}

// isList reports whether a field is a list of [[tables]].
func isList(t reflect.Type) bool {
	return t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct
}

// table decodes one table into the struct it belongs to.
func (r *Report) table(path string, raw map[string]any, target reflect.Value) {
	fields := fieldsOf(target)
	for key, value := range raw {
		at := join(path, key)
		field, known := fields[key]
		switch {
		case !known:
			r.Add(at, "", r.unknownKey(key, fields))
		case isList(field.Type()):
			r.list(key, value, field)
		case field.Kind() == reflect.Struct:
			inner, ok := value.(map[string]any)
			if !ok {
				r.Add(at, show(value), fmt.Sprintf("expected a table, [%s]", key))
				continue
			}
			r.table(at, inner, field)
		case field.Kind() == reflect.Map:
			r.numbers(at, value, field)
		default:
			r.assign(at, value, field)
		}
	}
	for key, field := range fields {
		if _, given := raw[key]; !given && isList(field.Type()) {
			field.SetLen(0) // it held the defaults of a table
		}
	}
}

// validName: such a name takes the place of a table's number in reports.
var validName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)

// list decodes [[key]] tables, each into defaults of its own.
func (r *Report) list(key string, raw any, field reflect.Value) {
	defaults := field.Index(0)
	tables, ok := raw.([]map[string]any)
	items, inline := raw.([]any) // camera = [{…}]
	for _, item := range items {
		table, isTable := item.(map[string]any)
		tables, inline = append(tables, table), inline && isTable
	}
	if !ok && !inline {
		r.Add(key, show(raw), fmt.Sprintf("expected [[%s]] in two brackets, once for each %s", key, key))
		tables = nil
	}
	field.Set(reflect.MakeSlice(field.Type(), len(tables), len(tables)))
	for i, table := range tables {
		path := itemPath(key, i)
		if name, _ := table["name"].(string); validName.MatchString(name) {
			r.shown[path] = key + "." + name
		} else {
			r.shown[path] = key
		}
		item := field.Index(i)
		item.Set(defaults)
		for _, inner := range fieldsOf(item) {
			if inner.Kind() == reflect.Map {
				inner.Set(reflect.MakeMap(inner.Type())) // of its own
			}
		}
		r.table(path, table, item)
	}
}

// numbers decodes a table of numbers whose keys are free, such as controls.
func (r *Report) numbers(path string, raw any, field reflect.Value) {
	table, ok := raw.(map[string]any)
	if !ok {
		r.Add(path, show(raw), "expected a table of whole numbers such as { exposure = 250 }")
		return
	}
	for key, value := range table {
		item := reflect.New(field.Type().Elem()).Elem()
		if r.assign(join(path, key), value, item) {
			field.SetMapIndex(reflect.ValueOf(key), item)
		}
	}
}

func (r *Report) assign(path string, raw any, field reflect.Value) bool {
	expected := set(field, raw)
	if expected != "" {
		r.Add(path, show(raw), "expected "+expected)
	}
	return expected == ""
}

// validate asks a table, and those below it, what is wrong with them.
func (r *Report) validate(path string, target reflect.Value) {
	if s, ok := target.Addr().Interface().(Section); ok {
		s.Validate(r.reporter(path, target))
	}
	for i := range target.NumField() {
		field, tag := target.Field(i), target.Type().Field(i).Tag.Get("toml")
		switch {
		case isList(field.Type()):
			for i := range field.Len() {
				r.validate(itemPath(tag, i), field.Index(i))
			}
		case field.Kind() != reflect.Struct:
		case tag == "":
			r.validate(path, field)
		default:
			r.validate(join(path, tag), field)
		}
	}
}

// reporter makes problems of what a section's Validate reports. It may report a
// key several times, but none whose value could not be read: that one still has
// its default.
func (r *Report) reporter(path string, target reflect.Value) func(key, value, expected string) {
	fields := fieldsOf(target)
	unread := make(map[string]bool)
	for key := range fields {
		unread[key] = r.reported[join(path, key)]
	}
	return func(key, value, expected string) {
		at := join(path, key)
		if unread[key] {
			return
		}
		_, written := r.lines[at]
		if value == "" && !written && r.origin[at] == "" {
			r.append(at, "", "missing, expected "+expected)
			return
		}
		value = clip(hideUser(value))
		if field, ok := fields[key]; ok && isText(field) {
			value = show(value)
		}
		r.append(at, value, "expected "+expected)
	}
}

// isText reports whether the values of a field stand in quotes in the file.
func isText(field reflect.Value) bool {
	switch field.Interface().(type) {
	case time.Duration, bytesize.Size:
		return true
	}
	return field.Kind() == reflect.String || field.Kind() == reflect.Slice
}

func itemPath(key string, i int) string { return key + "[" + strconv.Itoa(i) + "]" }

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
