package config

import (
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// environmentPrefix begins the names of all variables that are meant for us.
const environmentPrefix = "FRAMEKEEPER_"

// environment lets variables override scalars outside lists of tables.
func (r *Report) environment(environ []string) {
	known := overridable(r.root)
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, environmentPrefix) {
			continue
		}
		key, ok := known[name]
		if !ok || key.field.Kind() == reflect.Slice {
			r.problems = append(r.problems, Problem{File: environmentName, Key: name, What: r.notOverridable(name, ok, known)})
			continue
		}
		raw := fromText(key.field, value)
		if expected := set(key.field, raw); expected != "" {
			r.problems = append(r.problems, Problem{File: environmentName, Key: name, Value: show(value), What: "expected " + expected})
			continue
		}
		r.origin[key.path] = name
	}
}

type overridableKey struct {
	path  string
	field reflect.Value
}

// overridable maps the names of variables to the keys they override, and to
// those they cannot because they are lists.
func overridable(root reflect.Value) map[string]overridableKey {
	known := make(map[string]overridableKey)
	note := func(path string, field reflect.Value) {
		known[environmentPrefix+strings.ToUpper(strings.ReplaceAll(path, ".", "_"))] = overridableKey{path, field}
	}
	for table, field := range fieldsOf(root) {
		switch {
		case isList(field.Type()):
		case field.Kind() == reflect.Struct:
			for key, inner := range fieldsOf(field) {
				note(table+"."+key, inner)
			}
		default:
			note(table, field)
		}
	}
	return known
}

func (r *Report) notOverridable(name string, known bool, keys map[string]overridableKey) string {
	if known {
		return "a list cannot be set by a variable, only in the file"
	}
	for table, field := range fieldsOf(r.root) {
		if isList(field.Type()) && strings.HasPrefix(name, environmentPrefix+strings.ToUpper(table)) {
			return table + "s cannot be set by variables, only in the file"
		}
	}
	best, least := "", max(len(name)/6, 2)+1
	for _, candidate := range slices.Sorted(maps.Keys(keys)) {
		if len(name) > 128 {
			break
		}
		if d := distance(strings.ToUpper(name), candidate); d < least {
			best, least = candidate, d
		}
	}
	if best != "" {
		return "unknown variable, did you mean " + best + "?"
	}
	return "unknown variable; expected " + environmentPrefix + "<TABLE>_<KEY>, such as " + environmentPrefix + "REDIS_URL"
}

// fromText makes of a variable's text what TOML would have given for the field;
// what it cannot read stays a string, which set then refuses.
func fromText(field reflect.Value, text string) any {
	if _, ok := field.Interface().(time.Duration); ok {
		return text
	}
	if _, ok := field.Addr().Interface().(interface{ UnmarshalText([]byte) error }); ok {
		return text
	}
	switch field.Kind() {
	case reflect.Int, reflect.Int64:
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return n
		}
	case reflect.Float64:
		if f, err := strconv.ParseFloat(text, 64); err == nil {
			return f
		}
	case reflect.Bool:
		if text == "true" || text == "false" {
			return text == "true"
		}
	}
	return text
}
