package config

import (
	"reflect"
	"slices"
	"strings"
)

// unknownKey proposes what may have been meant. The value is not shown: it could
// be a password under a name of somebody's own.
func (r *Report) unknownKey(key string, fields map[string]reflect.Value) string {
	if place := r.placeOf(key); place != "" {
		return "unknown key here; it belongs " + place
	}
	if near := nearest(key, fields); near != "" {
		return "unknown key, did you mean " + near + "?"
	}
	return "unknown key"
}

// placeOf is where a key of exactly this name belongs.
func (r *Report) placeOf(key string) string {
	for name, field := range fieldsOf(r.root) {
		switch {
		case isList(field.Type()):
			if _, ok := fieldsOf(reflect.New(field.Type().Elem()).Elem())[key]; ok {
				return "in a [[" + name + "]]"
			}
		case field.Kind() == reflect.Struct:
			if _, ok := fieldsOf(field)[key]; ok {
				return "in [" + name + "]"
			}
		case name == key:
			return "at the top of the file, before the first [table]"
		}
	}
	return ""
}

// nearest is the known key that looks most like this one, "" if none does.
func nearest(key string, fields map[string]reflect.Value) string {
	names := make([]string, 0, len(fields))
	for name := range fields {
		names = append(names, name)
	}
	slices.Sort(names)
	best, least := "", max(len(key)/3, 1)+1
	word := strings.ReplaceAll(strings.ToLower(key), "-", "_")
	if len(word) > 64 {
		return ""
	}
	for _, name := range names {
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
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			replaced := rows[i-1][j-1]
			if a[i-1] != b[j-1] {
				replaced++
			}
			rows[i][j] = min(replaced, rows[i-1][j]+1, rows[i][j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
