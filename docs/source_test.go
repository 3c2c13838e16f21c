package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// program is what the code of this repository has, tests apart.
type program struct {
	texts    map[string]bool // string literals, whole
	tags     map[string]bool // names of JSON and TOML keys
	names    map[string]bool // Name, Type.method, Type.field, package, package.Name
	packages map[string]bool // directories below pkg and internal
}

func source(t *testing.T) *program {
	t.Helper()
	p, err := parsed()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

var parsed = sync.OnceValues(func() (*program, error) {
	p := &program{map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}}
	for _, dir := range []string{"cmd", "internal", "pkg", "test/faults"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err == nil {
				p.add(strings.TrimPrefix(filepath.Dir(path), root+"/"), file)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return p, nil
})

func (p *program) add(dir string, file *ast.File) {
	pkg := file.Name.Name
	p.names[pkg] = true
	if !strings.HasPrefix(dir, "cmd") && !strings.HasPrefix(dir, "test") && !strings.Contains(dir, "testkit/") {
		p.packages[dir] = true
	}
	name := func(id *ast.Ident) { p.names[id.Name], p.names[pkg+"."+id.Name] = true, true }
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			name(n.Name)
			if n.Recv != nil {
				p.names[receiver(n.Recv.List[0].Type)+"."+n.Name.Name] = true
			}
		case *ast.TypeSpec:
			name(n.Name)
			p.members(n)
		case *ast.ValueSpec:
			for _, id := range n.Names {
				name(id)
			}
		case *ast.Field:
			if n.Tag != nil {
				p.tag(n.Tag.Value)
			}
		case *ast.BinaryExpr:
			if text, ok := joined(n); ok {
				p.text(text)
			}
		case *ast.BasicLit:
			if n.Kind == token.STRING {
				if text, err := strconv.Unquote(n.Value); err == nil {
					p.text(text)
				}
			}
		}
		return true
	})
}

// members are the fields of a struct and the methods of an interface.
func (p *program) members(spec *ast.TypeSpec) {
	var fields *ast.FieldList
	switch t := spec.Type.(type) {
	case *ast.StructType:
		fields = t.Fields
	case *ast.InterfaceType:
		fields = t.Methods
	default:
		return
	}
	for _, field := range fields.List {
		for _, id := range field.Names {
			p.names[id.Name], p.names[spec.Name.Name+"."+id.Name] = true, true
		}
	}
}

func receiver(t ast.Expr) string {
	for {
		switch v := t.(type) {
		case *ast.StarExpr:
			t = v.X
		case *ast.IndexExpr:
			t = v.X
		case *ast.IndexListExpr:
			t = v.X
		case *ast.Ident:
			return v.Name
		default:
			return ""
		}
	}
}

// joined is "a" + "b".
func joined(e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(e.Value)
		return text, err == nil && e.Kind == token.STRING
	case *ast.BinaryExpr:
		left, ok := joined(e.X)
		right, also := joined(e.Y)
		return left + right, ok && also && e.Op == token.ADD
	}
	return "", false
}

func (p *program) tag(literal string) {
	text, err := strconv.Unquote(literal)
	if err != nil {
		return
	}
	for _, kind := range []string{"json", "toml"} {
		name, _, _ := strings.Cut(reflect.StructTag(text).Get(kind), ",")
		p.tags[name] = true
	}
}

var verb = regexp.MustCompile(`%[a-z]`)

func (p *program) text(text string) { p.texts[text] = true }

// says reports whether a message is one of the code's, or part of one.
func (p *program) says(message string) bool {
	if p.texts[message] {
		return true
	}
	for text := range p.texts {
		if subject, ok := strings.CutSuffix(message, text); ok && len(text) > 12 && p.texts[subject] {
			return true // "Agent" + " is down, restarting it"
		}
		if len(text) < len(message) && !verb.MatchString(text) || len(text) < 12 {
			continue
		}
		// "no permission for %s; add" has the part "no permission for /dev/video0".
		parts := verb.Split(text, -1)
		before, _, _ := strings.Cut(message, "/dev/video0")
		switch {
		case strings.Contains(text, message), before != message && strings.Contains(text, before+"%s"):
			return true
		case len(parts) > 1 && len(parts[0]) > 5 && len(parts[len(parts)-1]) > 5 && strings.HasPrefix(message, parts[0]) && strings.HasSuffix(message, parts[len(parts)-1]):
			return true
		}
	}
	return false
}

// has reports whether a word in snake_case is a key, a label or another text.
func (p *program) has(word string) bool {
	return p.texts[word] || p.tags[word] || p.texts[strings.ReplaceAll(word, "_", "-")] || p.texts[strings.ReplaceAll(word, "_", " ")] ||
		word == "scrape_timeout" // Prometheus's
}
