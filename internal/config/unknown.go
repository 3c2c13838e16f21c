package config

import (
	"maps"
	"reflect"
	"slices"
	"strings"
)

// environmentPrefix begins the names of all variables that are meant for us.
const environmentPrefix = "FRAMEKEEPER_"

// environment lets variables override scalars outside lists of tables.
func (r *Report) environment(environ []string) {
	paths, fields := make(map[string]string), make(map[string]reflect.Value) // of "redis_url"
	for table, field := range fieldsOf(r.root) {
		switch {
		case isList(field.Type()):
		case field.Kind() == reflect.Struct:
			for key, inner := range fieldsOf(field) {
				paths[table+"_"+key], fields[table+"_"+key] = table+"."+key, inner
			}
		default:
			paths[table], fields[table] = table, field
		}
	}
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		rest, ours := strings.CutPrefix(name, environmentPrefix)
		if !ours {
			continue
		}
		key := strings.ToLower(rest)
		field, known := fields[key]
		p := Problem{File: environmentName, Key: name}
		switch {
		case !known || rest != strings.ToUpper(key):
			p.What = r.unknownVariable(key, fields)
		case field.Kind() == reflect.Slice:
			p.What = "a list cannot be set by a variable, only in the file"
		default:
			expected := setText(field, value)
			if expected == "" {
				r.origin[paths[key]] = name
				continue
			}
			p.Value, p.What = show(value), "expected "+expected
		}
		r.problems = append(r.problems, p)
	}
}

func (r *Report) unknownVariable(key string, known map[string]reflect.Value) string {
	for table, field := range fieldsOf(r.root) {
		if isList(field.Type()) && strings.HasPrefix(key, table) {
			return table + "s cannot be set by variables, only in the file"
		}
	}
	if near := nearest(key, known); near != "" {
		return "unknown variable, did you mean " + environmentPrefix + strings.ToUpper(near) + "?"
	}
	return "unknown variable; expected " + environmentPrefix + "<TABLE>_<KEY>, such as " + environmentPrefix + "REDIS_URL"
}

// unknownKey proposes what may have been meant. The value is not shown: it could
// be a password under a name of somebody's own.
func (r *Report) unknownKey(key string, fields map[string]reflect.Value) string {
	for name, field := range fieldsOf(r.root) {
		place := "in [" + name + "]"
		switch {
		case isList(field.Type()):
			field, place = reflect.New(field.Type().Elem()).Elem(), "in a [["+name+"]]"
		case field.Kind() != reflect.Struct && name == key:
			return "unknown key here; it belongs at the top of the file, before the first [table]"
		}
		if field.Kind() == reflect.Struct && fieldsOf(field)[key].IsValid() {
			return "unknown key here; it belongs " + place
		}
	}
	if near := nearest(key, fields); near != "" {
		return "unknown key, did you mean " + near + "?"
	}
	return "unknown key"
}

// nearest is the known key that looks most like this one, "" if none does.
func nearest(key string, fields map[string]reflect.Value) string {
	best, least := "", max(len(key)/3, 1)+1
	word := strings.ReplaceAll(strings.ToLower(key), "-", "_")
	if len(word) > 64 {
		return ""
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		d := distance(word, name)
		if len(word) >= 4 && strings.HasPrefix(name, word) {
			d = min(d, 1) // "password" for password_file
		}
		if d < least {
			best, least = name, d
		}
	}
	return best
}

// distance counts the letters inserted, left out, replaced or swapped with
// their neighbour that lead from a to b.
func distance(a, b string) int {
	row, before := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		next := make([]int, len(b)+1)
		next[0] = i + 1
		for j := range len(b) {
			replaced := row[j]
			if a[i] != b[j] {
				replaced++
			}
			next[j+1] = min(replaced, row[j+1]+1, next[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				next[j+1] = min(next[j+1], before[j-1]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}
