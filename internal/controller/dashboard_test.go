package controller

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// dashboard is what we use of Grafana's model; what else stands in the file is
// an error, so that a typing mistake is none that Grafana passes over.
type dashboard struct {
	UID           string `json:"uid"`
	Title         string `json:"title"`
	Tags          []string
	SchemaVersion int    `json:"schemaVersion"`
	Version       int    `json:"version"`
	Editable      bool   `json:"editable"`
	GraphTooltip  int    `json:"graphTooltip"`
	Refresh       string `json:"refresh"`
	Timezone      string `json:"timezone"`
	Time          struct{ From, To string }
	Annotations   struct{ List []any }
	Links         []any
	Templating    struct{ List []variable }
	Panels        []panel
}

type variable struct {
	Name, Label, Type string
	Datasource        *source
	Query             json.RawMessage // a word for a data source, an object for a query
	Definition        string
	Refresh, Sort     int
	Multi             bool
	IncludeAll        bool   `json:"includeAll"`
	AllValue          string `json:"allValue"`
	Current           map[string]string
	Options           []any
}

type source struct{ Type, UID string }

type panel struct {
	ID                       int
	Type, Title, Description string
	Collapsed                bool
	Panels                   []any
	Datasource               *source
	GridPos                  struct{ X, Y, W, H int } `json:"gridPos"`
	Targets                  []target
	Options                  map[string]any
	FieldConfig              fieldConfig `json:"fieldConfig"`
}

type target struct {
	RefID          string `json:"refId"`
	Datasource     *source
	Expr           string
	LegendFormat   string `json:"legendFormat"`
	Instant, Range bool
}

type fieldConfig struct {
	Defaults struct {
		Unit       string
		Decimals   *int
		Min, Max   *float64
		Custom     map[string]any
		Mappings   []any
		Thresholds *struct {
			Mode  string
			Steps []struct {
				Color string
				Value *float64
			}
		}
	}
	Overrides []any
}

func readDashboard(t *testing.T) *dashboard {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(monitoring, "dashboard.json"))
	if err != nil {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	d := &dashboard{}
	if err := decoder.Decode(d); err != nil {
		t.Fatalf("dashboard.json: %v", err)
	}
	return d
}

// gridWidth is how many columns Grafana divides a dashboard into.
const gridWidth = 24

func TestDashboard(t *testing.T) {
	d := readDashboard(t)
	// 36 and later bear data sources as objects; 39 is that of Grafana 10.4 and
	// 11, which newer ones take over.
	if len(d.UID) < 8 || len(d.UID) > 40 || d.Title == "" || d.SchemaVersion < 36 || d.SchemaVersion > 39 {
		t.Errorf("uid %q, title %q, schemaVersion %d: want 8 to 40 characters, a title, and 36 to 39", d.UID, d.Title, d.SchemaVersion)
	}
	ids, titles := map[int]string{}, map[string]bool{}
	taken := map[[2]int]string{}
	for i := range d.Panels {
		p := &d.Panels[i]
		if ids[p.ID] != "" || p.ID <= 0 || titles[p.Title] || p.Title == "" {
			t.Errorf("panel %d %q: id or title is not its own, or missing", p.ID, p.Title)
		}
		ids[p.ID], titles[p.Title] = p.Title, true
		g := p.GridPos
		if g.X < 0 || g.Y < 0 || g.W < 1 || g.H < 1 || g.X+g.W > gridWidth {
			t.Errorf("%s: gridPos %+v is not within %d columns", p.Title, g, gridWidth)
		}
		for x := g.X; x < g.X+g.W; x++ {
			for y := g.Y; y < g.Y+g.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" {
					t.Fatalf("%s lies over %s at column %d, row %d", p.Title, other, x, y)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		checkPanel(t, d, p)
	}
	checkVariables(t, d)
}

func checkPanel(t *testing.T, d *dashboard, p *panel) {
	if p.Type == "row" {
		if len(p.Targets) > 0 || p.GridPos.W != gridWidth || p.Collapsed || len(p.Panels) > 0 {
			t.Errorf("row %s: want it open, %d wide and without targets", p.Title, gridWidth)
		}
		return
	}
	if !slices.Contains([]string{"stat", "timeseries", "state-timeline"}, p.Type) {
		t.Errorf("%s: Grafana has no panel %q that we know", p.Title, p.Type)
	}
	if p.Description == "" || p.Datasource == nil || *p.Datasource != fromVariable || len(p.Targets) == 0 || len(p.FieldConfig.Overrides) > 0 {
		t.Errorf("%s: want a description, the data source of the variable, targets and no overrides: %+v", p.Title, p)
	}
	for i, q := range p.Targets {
		if q.RefID != string(rune('A'+i)) || q.Datasource == nil || *q.Datasource != fromVariable || q.LegendFormat == "" || q.Expr == "" {
			t.Errorf("%s: target %+v: want refId %c, a query, a legend and the data source of the variable", p.Title, q, 'A'+i)
		}
		// A stat of a range would show the last value of what is gone.
		if q.Instant != (p.Type == "stat") || q.Range == q.Instant {
			t.Errorf("%s: target %s is instant: %v, range: %v", p.Title, q.RefID, q.Instant, q.Range)
		}
		checkReferences(t, d, p.Title, q.Expr)
	}
	checkField(t, p)
}

// checkField looks whether the values are shown as what they are.
func checkField(t *testing.T, p *panel) {
	f := p.FieldConfig.Defaults
	units := map[string]string{"_bytes": "bytes", "_seconds": "s", "_celsius": "celsius", "_ratio": "percentunit"}
	for _, q := range p.Targets {
		name := regexp.MustCompile(`\b(framekeeper|process|go)_\w+`).FindString(q.Expr)
		for ending, unit := range units {
			if strings.HasSuffix(strings.TrimSuffix(name, "_bucket"), ending) && f.Unit != unit && !strings.Contains(q.Expr, " / ") {
				t.Errorf("%s shows %s as %q, want %q", p.Title, name, f.Unit, unit)
			}
		}
		if strings.Contains(q.Expr, "rate(") && strings.HasSuffix(name, "_bytes_total") && f.Unit != "Bps" {
			t.Errorf("%s shows a rate of %s as %q, want Bps", p.Title, name, f.Unit)
		}
		if strings.HasSuffix(q.Expr, "> 0") && f.Custom["drawStyle"] != "bars" {
			t.Errorf("%s: a line does not show a value that stands alone, want bars", p.Title)
		}
	}
	if !slices.Contains([]string{"", "short", "s", "bytes", "Bps", "pps", "percentunit", "celsius"}, f.Unit) || f.Unit == "" && p.Type != "state-timeline" {
		t.Errorf("%s: got unit %q, want one that Grafana knows", p.Title, f.Unit)
	}
	if p.Type == "timeseries" {
		return
	}
	if f.Thresholds == nil || f.Thresholds.Mode != "absolute" || len(f.Thresholds.Steps) == 0 || f.Thresholds.Steps[0].Value != nil {
		t.Errorf("%s: want absolute thresholds that begin without a value: %+v", p.Title, f.Thresholds)
		return
	}
	for i, step := range f.Thresholds.Steps[1:] {
		before := f.Thresholds.Steps[i].Value
		if step.Value == nil || before != nil && *before >= *step.Value {
			t.Errorf("%s: thresholds must rise, and only the first is without a value", p.Title)
		}
	}
}

var fromVariable = source{"prometheus", "${datasource}"} //nolint:gochecknoglobals // a constant

// checkReferences looks whether every variable of a query exists.
func checkReferences(t *testing.T, d *dashboard, where, expr string) {
	for _, m := range regexp.MustCompile(`\$\{?(\w+)`).FindAllStringSubmatch(expr, -1) {
		if m[1] != "__rate_interval" && !slices.ContainsFunc(d.Templating.List, func(v variable) bool { return v.Name == m[1] }) {
			t.Errorf("%s: there is no variable %s", where, m[0])
		}
	}
	// Other programs have metrics of these names too.
	if regexp.MustCompile(`\b(process|go|up)\w*\{`).MatchString(expr) && !strings.Contains(expr, `job="framekeeper"`) {
		t.Errorf("%s asks for other programs' metrics too: %s", where, expr)
	}
}

func checkVariables(t *testing.T, d *dashboard) {
	if len(d.Templating.List) == 0 || d.Templating.List[0].Type != "datasource" || d.Templating.List[0].Name != "datasource" || string(d.Templating.List[0].Query) != `"prometheus"` {
		t.Fatalf("want a data source as the first variable: %+v", d.Templating.List)
	}
	for i := range d.Templating.List[1:] {
		v := &d.Templating.List[1+i]
		var query struct{ Query, RefID string }
		if err := json.Unmarshal(v.Query, &query); err != nil || query.Query != v.Definition || query.RefID == "" {
			t.Errorf("variable %s: %v, query %s, want its definition %q", v.Name, err, v.Query, v.Definition)
		}
		if v.Type != "query" || *v.Datasource != fromVariable || !v.Multi || !v.IncludeAll || v.AllValue != ".*" || v.Label == "" {
			t.Errorf("variable %+v: want a query for one, several or all", v)
		}
		checkReferences(t, d, v.Name, v.Definition)
	}
}

// asked is a query as Grafana sends it when all boxes and cameras are chosen and
// Prometheus scrapes so often that the rate interval is this.
func asked(expr, rateInterval string) string {
	return strings.NewReplacer("$instance", ".*", "$camera", ".*", "$__rate_interval", rateInterval).Replace(expr)
}

// legend is how Grafana names a series.
func legend(format string, labels map[string]string) (name string, err error) {
	name = regexp.MustCompile(`\{\{\s*(\w+)\s*\}\}`).ReplaceAllStringFunc(format, func(m string) string {
		label := strings.Trim(m, "{} ")
		if labels[label] == "" {
			err = fmt.Errorf("the legend %q lacks %s in %v", format, label, labels)
		}
		return labels[label]
	})
	return name, err
}
