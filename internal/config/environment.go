package config

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"framekeeper/internal/supervise"
)

// environmentPrefix begins the names of all variables that are meant for us.
const environmentPrefix = "FRAMEKEEPER_"

// environment lets variables override scalars outside [[camera]].
func (l *loader) environment(environ []string) {
	known := overridable(l.cfg)
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, environmentPrefix) || isInternal(name) {
			continue
		}
		key, ok := known[name]
		if !ok || key.field.Kind() == reflect.Slice {
			l.problems = append(l.problems, Problem{File: environmentName, Key: name, What: notOverridable(name, ok, known)})
			continue
		}
		raw := fromText(key.field, value)
		if expected := set(key.field, raw); expected != "" {
			l.problems = append(l.problems, Problem{File: environmentName, Key: name, Value: show(value), What: "expected " + expected})
			continue
		}
		l.origin[key.path] = name
	}
}

// isInternal knows the variables our programs give to those they start, which
// may well be our programs too.
func isInternal(name string) bool {
	switch name {
	case supervise.EnvCamera, supervise.EnvSource, supervise.EnvExitCode, supervise.EnvRestarts, supervise.ConfigVariable:
		return true
	}
	return false
}

type overridableKey struct {
	path  string
	field reflect.Value
}

// overridable maps the names of variables to the keys they override, and to
// those they cannot because they are lists.
func overridable(cfg *Config) map[string]overridableKey {
	known := make(map[string]overridableKey)
	note := func(path string, field reflect.Value) {
		known[environmentPrefix+strings.ToUpper(strings.ReplaceAll(path, ".", "_"))] = overridableKey{path, field}
	}
	for table, field := range fieldsOf(reflect.ValueOf(cfg).Elem()) {
		switch {
		case table == "camera":
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

func notOverridable(name string, isList bool, known map[string]overridableKey) string {
	switch {
	case isList:
		return "a list cannot be set by a variable, only in the file"
	case strings.HasPrefix(name, environmentPrefix+"CAMERA"):
		return "cameras cannot be set by variables, only in the file"
	}
	best, least := "", max(len(name)/6, 2)+1
	for _, candidate := range sortedNames(known) {
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

func sortedNames(known map[string]overridableKey) []string {
	names := make([]string, 0, len(known))
	for name := range known {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
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
