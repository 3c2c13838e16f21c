package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"framekeeper/pkg/camera"
)

// loader fills a Config and collects what is wrong. A path names one key:
// "state_dir", "redis.url", "camera[0].controls.gain".
type loader struct {
	file     string
	cfg      *Config
	lines    map[string]int    // of each path the file has
	origin   map[string]string // path to the variable that set it
	shown    []string          // how the cameras are called in reports
	reported map[string]bool   // paths that have a problem already
	problems []Problem
}

// add notes a problem with a path that has none yet: one is enough for a value
// of the wrong type, and for a name on Redis.
func (l *loader) add(path, value, what string) {
	if !l.reported[path] {
		l.append(path, value, what)
	}
}

func (l *loader) append(path, value, what string) {
	l.reported[path] = true
	p := Problem{File: l.file, Line: l.line(path), Key: l.display(path), Value: value, What: what}
	if name := l.origin[path]; name != "" {
		p.File, p.Line, p.Key = environmentName, 0, name
	}
	l.problems = append(l.problems, p)
}

// line is where a path stands, or the nearest table around it.
func (l *loader) line(path string) int {
	for path != "" {
		if n, ok := l.lines[path]; ok {
			return n
		}
		path = path[:max(strings.LastIndexByte(path, '.'), 0)]
	}
	return 0
}

// display calls a camera by its name: "camera.greencam1.fps".
func (l *loader) display(path string) string {
	for i, name := range l.shown {
		if rest, ok := strings.CutPrefix(path, cameraPath(i)); ok {
			return "camera" + name + rest
		}
	}
	return path
}

func cameraPath(i int) string { return "camera[" + strconv.Itoa(i) + "]" }

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// root decodes the whole file.
func (l *loader) root(raw map[string]any) {
	if cameras, ok := raw["camera"]; ok {
		l.cameras(cameras)
		delete(raw, "camera")
	}
	l.table("", raw, reflect.ValueOf(l.cfg).Elem())
}

// cameras decodes the [[camera]] tables, each into defaults of its own.
func (l *loader) cameras(raw any) {
	tables, ok := tableList(raw)
	if !ok {
		l.add("camera", show(raw), "expected [[camera]] in two brackets, once for each camera")
		return
	}
	l.cfg.Cameras = make([]camera.Config, len(tables))
	l.shown = make([]string, len(tables))
	for i, table := range tables {
		if name, _ := table["name"].(string); camera.ValidName(name) {
			l.shown[i] = "." + name
		}
	}
	for i, table := range tables {
		l.cfg.Cameras[i] = camera.Default()
		l.table(cameraPath(i), table, reflect.ValueOf(&l.cfg.Cameras[i]).Elem())
	}
}

// tableList takes both [[camera]] and camera = [{…}].
func tableList(raw any) ([]map[string]any, bool) {
	switch list := raw.(type) {
	case []map[string]any:
		return list, true
	case []any:
		tables := make([]map[string]any, len(list))
		for i, item := range list {
			table, ok := item.(map[string]any)
			if !ok {
				return nil, false
			}
			tables[i] = table
		}
		return tables, true
	}
	return nil, false
}

// table decodes one table into the struct it belongs to.
func (l *loader) table(path string, raw map[string]any, target reflect.Value) {
	fields := fieldsOf(target)
	for key, value := range raw {
		at := join(path, key)
		field, known := fields[key]
		switch {
		case !known:
			l.add(at, "", unknownKey(key, path, fields))
		case field.Kind() == reflect.Struct:
			inner, ok := value.(map[string]any)
			if !ok {
				l.add(at, show(value), fmt.Sprintf("expected a table, [%s]", key))
				continue
			}
			l.table(at, inner, field)
		case field.Kind() == reflect.Map:
			l.numbers(at, value, field)
		default:
			l.assign(at, value, field)
		}
	}
}

// numbers decodes a table of numbers whose keys are free, such as controls.
func (l *loader) numbers(path string, raw any, field reflect.Value) {
	table, ok := raw.(map[string]any)
	if !ok {
		l.add(path, show(raw), "expected a table of whole numbers such as { exposure = 250 }")
		return
	}
	field.Set(reflect.MakeMap(field.Type()))
	for key, value := range table {
		item := reflect.New(field.Type().Elem()).Elem()
		if l.assign(join(path, key), value, item) {
			field.SetMapIndex(reflect.ValueOf(key), item)
		}
	}
}

func (l *loader) assign(path string, raw any, field reflect.Value) bool {
	expected := set(field, raw)
	if expected != "" {
		l.add(path, show(raw), "expected "+expected)
	}
	return expected == ""
}
