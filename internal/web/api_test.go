package web

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"framekeeper/internal/events"
	"framekeeper/internal/files"
	"framekeeper/internal/status"
	"framekeeper/pkg/frame"
)

func described(t *testing.T) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(description)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return doc
}

// Every address that the controller serves is described, and no other.
func TestEveryAddressIsDescribed(t *testing.T) {
	var served, documented []string
	sources, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range sources {
		if strings.HasSuffix(name, "_test.go") || name == "fleet.go" || name == "gallery.go" { // pages of client view, for people
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`Handle(?:Func)?\("(GET|POST) ([^"]+)"`).FindAllStringSubmatch(string(text), -1) {
			served = append(served, m[1]+" "+strings.TrimSuffix(m[2], "{$}"))
		}
	}
	for path, item := range described(t).Paths.Map() {
		for method := range item.Operations() {
			documented = append(documented, method+" "+path)
		}
	}
	slices.Sort(served)
	slices.Sort(documented)
	if !slices.Equal(served, documented) {
		t.Errorf("served\n%s\nopenapi.json has\n%s", strings.Join(served, "\n"), strings.Join(documented, "\n"))
	}
}

// The schemas have the keys that the Go types have, and ask for those that are always
// there.
func TestSchemasAreThoseOfTheTypes(t *testing.T) {
	doc := described(t)
	for name, v := range map[string]any{
		"Status": status.Ready{}, "Alive": status.Alive{}, "Camera": status.ReadyCamera{}, "Link": status.Link{}, "RedisServer": status.RedisServer{},
		"Process": status.Process{}, "Reload": status.Reload{}, "Unwritable": files.Unwritable{}, "OrphanedSpool": status.OrphanedSpool{}, "Header": frame.Header{}, "Event": events.Event{}, "Events": eventsAnswer{},
	} {
		schema := doc.Components.Schemas[name].Value
		want, required := map[string]string{}, []string{}
		keysOf(reflect.TypeOf(v), want, &required)
		got := map[string]string{}
		for key, property := range schema.Properties {
			got[key] = "any"
			if types := property.Value.Type; types != nil {
				got[key] = types.Slice()[0]
			}
			if got[key] == "any" && want[key] == "string" { // an enumeration
				got[key] = "string"
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: openapi.json has\n%v\nthe type has\n%v", name, got, want)
		}
		slices.Sort(required)
		if have := slices.Sorted(slices.Values(schema.Required)); !slices.Equal(have, required) {
			t.Errorf("%s: openapi.json requires\n%v\nalways there are\n%v", name, have, required)
		}
	}
}

// keysOf are the JSON keys of a struct with their types, and those always there.
func keysOf(t reflect.Type, types map[string]string, required *[]string) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-":
			continue
		case f.Anonymous && name == "":
			keysOf(f.Type, types, required)
			continue
		case options == "":
			*required = append(*required, name)
		}
		types[name] = typeOf(f.Type)
	}
}

func typeOf(t reflect.Type) string {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch _, text := t.MethodByName("MarshalText"); {
	case text, t == reflect.TypeFor[time.Time](), t.Kind() == reflect.String:
		return "string"
	case t == reflect.TypeFor[json.RawMessage](), t.Kind() == reflect.Struct, t.Kind() == reflect.Map:
		return "object"
	case t.Kind() == reflect.Slice:
		return "array"
	case t.Kind() == reflect.Bool:
		return "boolean"
	case t.Kind() == reflect.Float64:
		return "number"
	default:
		return "integer"
	}
}
