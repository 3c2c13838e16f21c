package config

import "testing"

func linesOf(t *testing.T, text string) map[string]int {
	t.Helper()
	_, lines, problem := decodeTOML("config.toml", []byte(text))
	if problem != nil {
		t.Fatalf("the test's text is not TOML: %v", problem)
	}
	return lines
}

func TestFindLines(t *testing.T) {
	const text = `# a = 1
a = 1
"quoted key" = 2
'literal' = 3
dotted . "x.y" . z = 4
multi = """
[not.a.table]
raw = 5 # list =
\""" still """
raw = '''
c = 6 '' '''''
list = [ # comment ]
  "x]", 'y',
  [1, 2],
  { k = 1,  l = [2,
     3] },
]
date = 1979-05-27 07:32:00 # t
inline = { p = 1, q = { r = "}" } }
  [ table ] # h
d = 1
[table.sub]
e = 1
[[array]]
f = 1

[[array]]
f = 2
g = "\\"
[array.controls]
h = 3
[[array.inner]]
i = 1
[[array.inner]]
i = 2
[last]`
	want := map[string]int{
		"a": 2, "quoted key": 3, "literal": 4, "dotted": 5, "dotted.x.y": 5, "dotted.x.y.z": 5, "multi": 6, "raw": 10, "list": 12,
		"date": 18, "inline": 19, "inline.p": 19, "inline.q": 19, "inline.q.r": 19,
		"table": 20, "table.d": 21, "table.sub": 22, "table.sub.e": 23, "array": 24, "array[0]": 24, "array[0].f": 25,
		"array[1]": 27, "array[1].f": 28, "array[1].g": 29, "array[1].controls": 30, "array[1].controls.h": 31,
		"array[1].inner": 32, "array[1].inner[0]": 32, "array[1].inner[0].i": 33, "array[1].inner[1]": 34, "array[1].inner[1].i": 35, "last": 36,
	}
	got := linesOf(t, text)
	for path, line := range want {
		if got[path] != line {
			t.Errorf("%s is on line %d, want %d", path, got[path], line)
		}
	}
	for path, line := range got {
		if want[path] == 0 {
			t.Errorf("found %s on line %d, which is no key", path, line)
		}
	}
}

func TestFindLinesWithWindowsLineEnds(t *testing.T) {
	got := linesOf(t, "a = 1\r\n\r\n[t]\r\nb = [\r\n1,\r\n]\r\nc = \"x\"\r\n")
	for path, line := range map[string]int{"a": 1, "t": 3, "t.b": 4, "t.c": 7} {
		if got[path] != line {
			t.Errorf("%s is on line %d, want %d", path, got[path], line)
		}
	}
}
