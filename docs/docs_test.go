// Package docs tests that the documents name only what exists: their links,
// commands, flags, configuration keys, metrics, messages, files and symbols.
package docs

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/spf13/cobra"

	"framekeeper/internal/agent"
	"framekeeper/internal/client"
	"framekeeper/internal/controller"
	"framekeeper/pkg/outbox"
	"framekeeper/pkg/redisconn"
)

const root = ".."

// page is one document, its code apart from its prose.
type page struct {
	name     string // from the root
	dir      string
	lines    int
	prose    string // without any code
	headings []string
	blocks   []block
	spans    []string // `code` in the prose
}

// block is a fenced block of code.
type block struct{ language, text string }

var (
	codeSpan = regexp.MustCompile("`([^`\n]+)`")
	heading  = regexp.MustCompile(`^#{1,6} (.+)$`)
	notSlug  = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

func pages(t *testing.T) []page {
	t.Helper()
	var files []string
	for _, pattern := range []string{"*.md", "docs/*.md", "examples/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	var all []page
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, read(strings.TrimPrefix(file, root+"/"), string(text)))
	}
	if len(all) < 10 {
		t.Fatalf("found only %d documents", len(all))
	}
	return all
}

func read(name, text string) page {
	p := page{name: name, dir: filepath.Join(root, filepath.Dir(name)), lines: strings.Count(text, "\n")}
	var prose strings.Builder
	fenced := false
	for line := range strings.Lines(text) {
		if language, ok := strings.CutPrefix(line, "```"); ok {
			if fenced = !fenced; fenced {
				p.blocks = append(p.blocks, block{language: strings.TrimSpace(language)})
			}
			continue
		}
		if fenced {
			p.blocks[len(p.blocks)-1].text += line
			continue
		}
		if m := heading.FindStringSubmatch(strings.TrimSpace(line)); m != nil {
			p.headings = append(p.headings, slug(m[1]))
		}
		prose.WriteString(line)
	}
	for _, m := range codeSpan.FindAllStringSubmatch(prose.String(), -1) {
		p.spans = append(p.spans, strings.TrimSpace(m[1]))
	}
	p.prose = codeSpan.ReplaceAllString(prose.String(), "``")
	return p
}

// slug is the anchor that GitHub makes of a heading.
func slug(heading string) string {
	heading = notSlug.ReplaceAllString(strings.ToLower(heading), "")
	return strings.ReplaceAll(heading, " ", "-")
}

func TestLinks(t *testing.T) {
	all := pages(t)
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for _, p := range all {
		for _, m := range link.FindAllStringSubmatch(p.prose, -1) {
			target := m[1]
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			file, anchor, _ := strings.Cut(target, "#")
			path := filepath.Join(p.dir, file)
			if file == "" {
				path = filepath.Join(root, p.name)
			}
			if _, err := os.Stat(path); err != nil {
				t.Errorf("%s: link to %s: there is no such file", p.name, target)
				continue
			}
			i := slices.IndexFunc(all, func(o page) bool { return filepath.Join(root, o.name) == path })
			if anchor != "" && (i < 0 || !slices.Contains(all[i].headings, anchor)) {
				t.Errorf("%s: link to %s: no such heading", p.name, target)
			}
		}
	}
}

func TestLengths(t *testing.T) {
	for _, p := range pages(t) {
		if (p.name == "README.md" || p.name == "ARCHITECTURE.md") && p.lines > 150 {
			t.Errorf("%s has %d lines, want at most 150", p.name, p.lines)
		}
	}
}

var (
	call    = regexp.MustCompile(`^(?:sudo )?(?:\S*/)?(?:framekeeper-)?(cam-agent|controller|client)(?:\s+(.*))?$`)
	comment = regexp.MustCompile(`\s+#.*$`)
	script  = regexp.MustCompile(`^(?:\w+=\S+ )*(?:\./)?(scripts/[\w.-]+)(.*)$`)
	option  = regexp.MustCompile(`--?[a-z][a-z-]*`)
)

func TestCommands(t *testing.T) {
	programs := map[string]*cobra.Command{
		"cam-agent":  agent.Program().Command(io.Discard, io.Discard),
		"controller": controller.Program().Command(io.Discard, io.Discard),
		"client":     client.Program().Command(io.Discard, io.Discard),
	}
	for _, program := range programs {
		program.InitDefaultVersionFlag()
	}
	seen := 0
	for _, p := range pages(t) {
		lines := slices.Clone(p.spans)
		for _, b := range p.blocks {
			if b.language == "sh" {
				lines = append(lines, strings.Split(b.text, "\n")...)
			}
		}
		for _, line := range lines {
			line = comment.ReplaceAllString(line, "")
			if m := script.FindStringSubmatch(line); m != nil {
				checkScript(t, p.name, m[1], m[2])
			}
			if m := call.FindStringSubmatch(line); m != nil {
				seen++
				if wrong := checkCall(programs[m[1]], strings.Fields(m[2])); wrong != "" {
					t.Errorf("%s: `%s`: %s", p.name, line, wrong)
				}
			}
		}
	}
	if seen < 30 {
		t.Errorf("found only %d commands", seen)
	}
}

// checkCall follows a command's words through its subcommands and flags.
func checkCall(cmd *cobra.Command, words []string) string {
	cmd.InitDefaultHelpFlag()
	for i := 0; i < len(words); i++ {
		word := words[i]
		switch {
		case word == "|" || word == ">" || word == "&&" || word == "-":
			return ""
		case strings.HasPrefix(word, "-"):
			name, _, hasValue := strings.Cut(strings.TrimLeft(word, "-"), "=")
			flag := cmd.Flag(name)
			if !strings.HasPrefix(word, "--") {
				flag = cmd.Flags().ShorthandLookup(name)
			}
			if flag == nil {
				return cmd.CommandPath() + " has no flag " + word
			}
			if flag.NoOptDefVal == "" && !hasValue {
				i++
			}
		case cmd.HasAvailableSubCommands():
			next := slices.IndexFunc(cmd.Commands(), func(c *cobra.Command) bool { return c.Name() == word })
			if next < 0 {
				return cmd.CommandPath() + " has no command " + word
			}
			cmd = cmd.Commands()[next]
			cmd.InitDefaultHelpFlag()
		}
	}
	return ""
}

func checkScript(t *testing.T, page, file, rest string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Errorf("%s: there is no %s", page, file)
		return
	}
	for _, flag := range option.FindAllString(rest, -1) {
		if !strings.Contains(string(text), flag) {
			t.Errorf("%s: %s has no flag %s", page, file, flag)
		}
	}
}

// configuration is every table and key, which internal/configfile proves that
// config.full.toml names.
func configuration(t *testing.T) (tables, keys map[string]bool) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "config.full.toml"))
	if err != nil {
		t.Fatal(err)
	}
	var raw map[string]any
	if err := toml.Unmarshal(regexp.MustCompile(`(?m)^# `).ReplaceAll(text, nil), &raw); err != nil {
		t.Fatal(err)
	}
	tables, keys = map[string]bool{}, map[string]bool{}
	for name, value := range raw {
		var inner map[string]any
		switch v := value.(type) {
		case map[string]any:
			inner = v
		case []map[string]any:
			inner = v[0]
		default:
			keys[name] = true
			continue
		}
		tables[name] = true
		for key := range inner {
			keys[key] = true
		}
	}
	return tables, keys
}

var (
	assignment = regexp.MustCompile(`(?m)^([A-Za-z_0-9]+) = `)
	table      = regexp.MustCompile(`^\[{1,2}([a-z_]+)\]{1,2}$`)
	snake      = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)+$`)
	variable   = regexp.MustCompile(`^FRAMEKEEPER_[A-Z_]+`)
	metric     = regexp.MustCompile(`framekeeper_[a-z_]+`)
)

func TestKeysAndMetrics(t *testing.T) {
	tables, keys := configuration(t)
	code := source(t)
	variables := map[string]bool{"FRAMEKEEPER_STATE_DIR": true, "FRAMEKEEPER_": true}
	for table := range tables {
		for key := range keys {
			variables["FRAMEKEEPER_"+strings.ToUpper(table+"_"+key)] = true
		}
	}
	for _, p := range pages(t) {
		for _, b := range p.blocks {
			if b.language != "toml" {
				continue
			}
			for _, m := range assignment.FindAllStringSubmatch(b.text, -1) {
				if !keys[m[1]] {
					t.Errorf("%s: the configuration has no key %s", p.name, m[1])
				}
			}
		}
		for _, span := range p.spans {
			m := assignment.FindStringSubmatch(span)
			v := variable.FindString(span)
			switch {
			case m != nil && !keys[m[1]]:
				t.Errorf("%s: `%s`: the configuration has no key %s", p.name, span, m[1])
			case v != "" && !variables[v] && !code.texts[v]:
				t.Errorf("%s: `%s`: there is no variable %s", p.name, span, v)
			case snake.MatchString(span) && !keys[span] && !code.has(span) && !strings.HasPrefix(span, "framekeeper_"):
				t.Errorf("%s: nothing has the name `%s`", p.name, span)
			}
			if m := table.FindStringSubmatch(span); m != nil && !tables[m[1]] {
				t.Errorf("%s: the configuration has no table %s", p.name, span)
			}
			for _, name := range metric.FindAllString(span, -1) {
				if !code.texts[strings.TrimPrefix(name, "framekeeper_")] && !code.texts[name] {
					t.Errorf("%s: there is no metric %s", p.name, name)
				}
			}
		}
	}
}

// Every message that troubleshooting.md explains is one of the code's, and it
// explains every cause.
func TestMessages(t *testing.T) {
	code := source(t)
	text, err := os.ReadFile("troubleshooting.md")
	if err != nil {
		t.Fatal(err)
	}
	messages, causes, _ := strings.Cut(string(text), "\n## Causes")
	rows := regexp.MustCompile("(?m)^\\| (`[^|]+`) \\|")
	found := 0
	for _, row := range rows.FindAllStringSubmatch(messages, -1) {
		for _, m := range codeSpan.FindAllStringSubmatch(row[1], -1) {
			found++
			if !code.says(m[1]) {
				t.Errorf("troubleshooting.md: no part of the code has the message `%s`", m[1])
			}
		}
	}
	if found < 30 {
		t.Errorf("found only %d messages", found)
	}
	named := map[string]bool{}
	for _, row := range rows.FindAllStringSubmatch(causes, -1) {
		for _, m := range codeSpan.FindAllStringSubmatch(row[1], -1) {
			named[m[1]] = true
			if !slices.ContainsFunc(redisconn.Causes(), func(c redisconn.Cause) bool { return string(c) == m[1] }) {
				t.Errorf("troubleshooting.md: there is no cause `%s`", m[1])
			}
		}
	}
	for _, cause := range redisconn.Causes() {
		if !named[string(cause)] {
			t.Errorf("troubleshooting.md does not explain the cause `%s`", cause)
		}
	}
}

// monitoring.md has a row for every reason for which frames are lost.
func TestReasonsOfLosses(t *testing.T) {
	text, err := os.ReadFile("monitoring.md")
	if err != nil {
		t.Fatal(err)
	}
	_, reasons, _ := strings.Cut(string(text), "| `reason` |")
	reasons, _, _ = strings.Cut(reasons, "\n\n")
	for _, kind := range outbox.LossKinds() {
		if !strings.Contains(reasons, "`"+kind+"`") {
			t.Errorf("monitoring.md does not explain the reason `%s`", kind)
		}
	}
}

var (
	pathName   = regexp.MustCompile(`^(?:\./)?((?:\.ci|bench|cmd|docs|internal|monitoring|packaging|pkg|scripts|test|tools)(?:/[\w.@/-]*)?)$`)
	identifier = regexp.MustCompile(`^[A-Za-z]\w*(\.[A-Za-z]\w*)?$`)
)

func TestFilesAndSymbols(t *testing.T) {
	code := source(t)
	_, keys := configuration(t)
	for _, p := range pages(t) {
		for _, span := range p.spans {
			if m := pathName.FindStringSubmatch(span); m != nil {
				if _, err := os.Stat(filepath.Join(root, m[1])); err != nil {
					t.Errorf("%s: there is no %s", p.name, span)
				}
				continue
			}
			if p.name != "ARCHITECTURE.md" || !identifier.MatchString(span) || keys[span] || code.has(span) {
				continue
			}
			if !code.names[span] {
				t.Errorf("%s: the code has no `%s`", p.name, span)
			}
		}
	}
}

// The map shows every room.
func TestEveryPackageIsOnTheMap(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "ARCHITECTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	for dir := range source(t).packages {
		if !strings.Contains(string(text), "`"+dir+"`") {
			t.Errorf("ARCHITECTURE.md does not name the package %s", dir)
		}
	}
}
