package frame

import (
	"bytes"
	"cmp"
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// Decode is json.Unmarshal for what comes from outside: a key is a field's only if it is
// exactly the field's name, while encoding/json takes "ID" for "id" too. It reaches
// into structs inside structs, pointers, lists and maps.
func Decode(data []byte, v any) error { return decode(data, reflect.ValueOf(v), false) }

// DecodeStrict is Decode, and rejects an object with a key that is no field of v.
func DecodeStrict(data []byte, v any) error { return decode(data, reflect.ValueOf(v), true) }

// decode reads data into what into points to.
func decode(data []byte, into reflect.Value, strict bool) error {
	_, own := into.Interface().(json.Unmarshaler)
	_, text := into.Interface().(encoding.TextUnmarshaler)
	v := into.Elem()
	switch {
	case own, text, string(bytes.TrimSpace(data)) == "null":
	case v.Kind() == reflect.Struct:
		var values map[string]json.RawMessage
		if err := json.Unmarshal(data, &values); err != nil {
			return err
		}
		if err := decodeFields(values, v, strict); err != nil {
			return err
		}
		for key := range values {
			if strict {
				return fmt.Errorf("unknown field %.80q", key)
			}
		}
		return nil
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return decode(data, v, strict)
	case v.Kind() == reflect.Slice && nests(v.Type()):
		var items []json.RawMessage
		if err := json.Unmarshal(data, &items); err != nil {
			return err
		}
		v.Set(reflect.MakeSlice(v.Type(), len(items), len(items)))
		for i, item := range items {
			if err := decode(item, v.Index(i).Addr(), strict); err != nil {
				return err
			}
		}
		return nil
	case v.Kind() == reflect.Map && nests(v.Type()):
		var items map[string]json.RawMessage
		if err := json.Unmarshal(data, &items); err != nil {
			return err
		}
		v.Set(reflect.MakeMap(v.Type()))
		for key, item := range items {
			one := reflect.New(v.Type().Elem())
			if err := decode(item, one, strict); err != nil {
				return err
			}
			v.SetMapIndex(reflect.ValueOf(key).Convert(v.Type().Key()), one.Elem())
		}
		return nil
	}
	return json.Unmarshal(data, into.Interface())
}

// nests reports whether a list or map has elements that keys of structs are in.
func nests(t reflect.Type) bool {
	k := t.Elem().Kind()
	return k == reflect.Struct || k == reflect.Pointer || (k == reflect.Slice || k == reflect.Map) && nests(t.Elem())
}

// decodeFields reads the values of v's fields, and takes them out.
func decodeFields(values map[string]json.RawMessage, v reflect.Value, strict bool) error {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.Anonymous { // its keys are the object's own
			if err := decodeFields(values, v.Field(i), strict); err != nil {
				return err
			}
			continue
		}
		name, _, _ := strings.Cut(cmp.Or(f.Tag.Get("json"), f.Name), ",")
		value, ok := values[name]
		if !ok || name == "-" || !f.IsExported() {
			continue
		}
		delete(values, name)
		if err := decode(value, v.Field(i).Addr(), strict); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}
