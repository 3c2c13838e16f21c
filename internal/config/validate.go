package config

import (
	"maps"
	"reflect"
	"strings"
	"time"

	"framekeeper/internal/bytesize"
	"framekeeper/pkg/camera"
)

// validate asks each section what is wrong with it, and checks what no section
// can know alone.
func (l *loader) validate() {
	c := l.cfg
	if c.StateDir == "" {
		l.add("state_dir", `""`, "expected a directory")
	}
	c.Redis.Validate(l.reporter("redis", &c.Redis))
	c.Delivery.Validate(l.reporter("delivery", &c.Delivery))
	c.Log.Validate(l.reporter("log", &c.Log))
	c.Controller.Validate(l.reporter("controller", &c.Controller))
	c.Client.Validate(l.reporter("client", &c.Client))
	for i := range c.Cameras {
		c.Cameras[i].Validate(l.reporter(cameraPath(i), &c.Cameras[i]))
	}
	if len(c.Cameras) == 0 {
		l.add("camera", "", "missing, expected a [[camera]] with a name and a source for each camera")
	}
	l.cameraNames()
	l.redisNames()
}

// reporter makes problems of what a section's Validate reports. It may report a
// key several times, but none whose value could not be read: that one still has
// its default.
func (l *loader) reporter(path string, section any) func(key, value, expected string) {
	fields := fieldsOf(reflect.ValueOf(section).Elem())
	unread := maps.Clone(l.reported)
	return func(key, value, expected string) {
		at := join(path, key)
		if unread[at] {
			return
		}
		_, written := l.lines[at]
		if value == "" && !written && l.origin[at] == "" {
			l.append(at, "", "missing, expected "+expected)
			return
		}
		value = clip(hideUser(value))
		if field, ok := fields[key]; ok && isText(field) {
			value = show(value)
		}
		l.append(at, value, "expected "+expected)
	}
}

// isText says whether the values of a field stand in quotes in the file.
func isText(field reflect.Value) bool {
	switch field.Interface().(type) {
	case time.Duration, bytesize.Size:
		return true
	}
	return field.Kind() == reflect.String || field.Kind() == reflect.Slice
}

// hideUser takes out what stands before an '@', for the sections' own ways of
// showing a URL only know well-formed ones.
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

// cameraNames reports names that two cameras have.
func (l *loader) cameraNames() {
	seen := make(map[string]bool)
	for i := range l.cfg.Cameras {
		name := l.cfg.Cameras[i].Name
		if seen[name] && name != "" {
			l.add(cameraPath(i)+".name", show(name), "expected a name that no other camera has")
		}
		seen[name] = true
	}
}

// redisNames reports channels and keys on Redis that two things would share: a
// camera would take the other's frames for requests, or overwrite its log.
func (l *loader) redisNames() {
	c := l.cfg
	channels := map[string]string{
		"control/" + c.Controller.Box:       "the controller's commands",
		"control-reply/" + c.Controller.Box: "the controller's answers",
	}
	keys := map[string]string{}
	claim := func(names map[string]string, path, name, owner string) {
		if other, taken := names[name]; taken {
			l.add(path, show(name), "expected a name of its own; this is also "+other)
			return
		}
		names[name] = owner
	}
	claim(channels, "controller.log_topic", c.Controller.LogTopic, "controller.log_topic")
	seen := make(map[string]bool)
	for i := range c.Cameras {
		cam, at := &c.Cameras[i], cameraPath(i)
		if !camera.ValidName(cam.Name) || seen[cam.Name] {
			continue // reported already, and its names follow from that
		}
		seen[cam.Name] = true
		claim(channels, at+".name", cam.StatusTopic(), l.display(at)+"'s status")
		claim(channels, at+".request_topic", cam.RequestTopic, l.display(at+".request_topic"))
		claim(channels, at+".stream_topic", cam.StreamTopic, l.display(at+".stream_topic"))
		claim(keys, at+".name", cam.StatusKey(), l.display(at)+"'s status")
		claim(keys, at+".frames_key", cam.FramesKey, l.display(at+".frames_key"))
	}
}
