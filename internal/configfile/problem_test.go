package configfile

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"framekeeper/internal/config"
	"framekeeper/pkg/camera"
)

// problems parses a text that must be refused and returns the lines of the error.
func problems(t *testing.T, text string, environ ...string) []string {
	t.Helper()
	c, err := Parse("config.toml", []byte(text), environ)
	var list *config.Error
	if !errors.As(err, &list) || c != nil {
		t.Fatalf("got %v and error %v, want a *config.Error", c, err)
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != len(list.Problems) {
		t.Errorf("%d problems make %d lines:\n%v", len(list.Problems), len(lines), err)
	}
	return lines
}

func TestProblemsAreAllReportedInOrder(t *testing.T) {
	got := problems(t, `statedir = "x"
[redis]
ulr = "redis://h"
connection_check_interval = "6x"
io_timeout = 5
dial_timeout = "1ns"
embedded = "yes"
sentinel_addrs = [1]
[delivery]
mode = "pigeon"
retain_bytes = 1048576
spool_max_bytes = "lots"
spool_max_age = "-5h"
[log]
max_size_mb = 1.5
level = ["x"]
[client]
request_interval = "2h"
[colours]
x = 1
[[camera]]
name = "a"
source = "test:"
fps = "fast"
width = 4
controls = { gain = "x", exposure = 3 }
[[camera]]
name = "a"
source = "test:"
quality = nan
[[camera]]
source = "wrong:"
encoding = "gif"
[[camera]]
name = "B"
`, "FRAMEKEEPER_LOG_FORMAT=xml", "FRAMEKEEPER_REDIS_IO_TIMEOUT=soon", "PATH=/bin")
	want := []string{
		`config.toml:1: statedir: unknown key, did you mean state_dir?`,
		`config.toml:3: redis.ulr: unknown key, did you mean url?`,
		`config.toml:4: redis.connection_check_interval = "6x": expected a duration such as 600ms`,
		`config.toml:5: redis.io_timeout = 5: expected a duration in quotes and with a unit, such as "600ms"`,
		`config.toml:6: redis.dial_timeout = "1ns": expected 10ms to 1m0s`,
		`config.toml:7: redis.embedded = "yes": expected true or false`,
		`config.toml:8: redis.sentinel_addrs = a list: expected a list of strings such as ["a:1", "b:2"]`,
		`config.toml:10: delivery.mode = "pigeon": expected pubsub, stream or both`,
		`config.toml:11: delivery.retain_bytes = 1048576: expected a size such as 64MiB, in quotes`,
		`config.toml:12: delivery.spool_max_bytes = "lots": expected a size such as 64MiB`,
		`config.toml:13: delivery.spool_max_age = "-5h0m0s": expected at least 1m`,
		`config.toml:15: log.max_size_mb = 1.5: expected a whole number`,
		`config.toml:16: log.level = a list: expected a string in quotes`,
		`config.toml:18: client.request_interval = "2h0m0s": expected 1ms to 1h`,
		`config.toml:19: colours: unknown key`,
		`config.toml:24: camera.a.fps = "fast": expected a number`,
		`config.toml:25: camera.a.width = 4: expected 16 to 16384`,
		`config.toml:26: camera.a.controls.gain = "x": expected a whole number`,
		`config.toml:28: camera.a.name = "a": expected a name that no other camera has`,
		`config.toml:30: camera.a.quality = NaN: expected a whole number`,
		`config.toml:31: camera.name: missing, expected ` + camera.NameExpected,
		`config.toml:32: camera.source = "wrong:": expected ` + camera.SourceExpected,
		`config.toml:33: camera.encoding = "gif": expected jpeg, png or raw`,
		`config.toml:34: camera.source: missing, expected ` + camera.SourceExpected,
		`config.toml:35: camera.name = "B": expected ` + camera.NameExpected,
		`environment: FRAMEKEEPER_LOG_FORMAT = "xml": expected console or json`,
		`environment: FRAMEKEEPER_REDIS_IO_TIMEOUT = "soon": expected a duration such as 600ms`,
	}
	for i := range max(len(got), len(want)) {
		g, w := "(nothing)", "(nothing)"
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if g != w {
			t.Errorf("line %d:\n got %s\nwant %s", i, g, w)
		}
	}
}

func TestSingleProblems(t *testing.T) {
	for name, tt := range map[string]struct{ text, want string }{
		"empty file":        {"", `config.toml: camera: missing, expected a [[camera]] with a name and a source for each camera`},
		"empty list":        {"camera = []", `config.toml:1: camera: missing, expected a [[camera]]`},
		"one bracket":       {"[camera]\nname = \"a\"", `config.toml:1: camera = a table: expected [[camera]] in two brackets`},
		"camera number":     {"camera = 5", `config.toml:1: camera = 5: expected [[camera]]`},
		"table as value":    {"redis = 5" + oneCamera, `config.toml:1: redis = 5: expected a table, [redis]`},
		"section twice":     {"[redis]\n[[redis]]", `config.toml:2: not valid TOML: Key 'redis' was already created`},
		"many tables":       {"[[redis]]" + oneCamera, `config.toml:1: redis = a list: expected a table, [redis]`},
		"duplicate key":     {"[redis]\nurl = \"x\"\nurl = \"y\"", `config.toml:3: not valid TOML: Key 'redis.url' has already been defined`},
		"syntax":            {"[log]\nlevel = \n", `config.toml:2: not valid TOML: `},
		"open table":        {"[redis\nurl = \"redis://x\"\n", `config.toml:1: not valid TOML: expected '.' or ']' to end table name`},
		"open list":         {"[[camera]\nsource = \"x\"\n", `config.toml:1: not valid TOML: expected end of table array name delimiter ']'`},
		"no equals sign":    {"[redis]\nurl \"redis://x\"\n", `config.toml:2: not valid TOML: expected '.' or '=', but got '"' instead`},
		"open controls":     {oneCamera + "controls = { gain = 1\n", `config.toml:5: not valid TOML: `},
		"no UTF-8":          {"[log]\nlevel = \"\xff\"\n", `config.toml:2: not valid TOML: `},
		"controls":          {oneCamera + "controls = 5", `config.toml:5: camera.a.controls = 5: expected a table of whole numbers such as { exposure = 250 }`},
		"control subtable":  {oneCamera + "controls.x.y = 5", `config.toml:5: camera.a.controls.x = a table: expected a whole number`},
		"elsewhere":         {"[redis]\nimages_dir = \"x\"" + oneCamera, `config.toml:2: redis.images_dir: unknown key here; it belongs in [client]`},
		"in a camera":       {"[client]\nwidth = 5" + oneCamera, `config.toml:2: client.width: unknown key here; it belongs in a [[camera]]`},
		"below a table":     {"[log]\nstate_dir = \"x\"" + oneCamera, `config.toml:2: log.state_dir: unknown key here; it belongs at the top of the file`},
		"capitals":          {"[log]\nLEVEL = \"x\"" + oneCamera, `config.toml:2: log.LEVEL: unknown key, did you mean level?`},
		"hyphen":            {"[redis]\nio-timeout = \"x\"" + oneCamera, `config.toml:2: redis.io-timeout: unknown key, did you mean io_timeout?`},
		"state_dir":         {"state_dir = \"\"" + oneCamera, `config.toml:1: state_dir = "": expected a directory`},
		"date":              {"state_dir = 1979-05-27" + oneCamera, `config.toml:1: state_dir = a date or time: expected a string in quotes`},
		"int overflow":      {"[log]\nmax_size_mb = 9223372036854775807" + oneCamera, `config.toml:2: log.max_size_mb = 9223372036854775807: expected 1 to 100000`},
		"duration overflow": {"[redis]\nio_timeout = \"9999999h\"" + oneCamera, `config.toml:2: redis.io_timeout = "9999999h": expected a duration such as 600ms`},
		"images":            {"[client]\nimages_max_age = \"1s\"" + oneCamera, `config.toml:2: client.images_max_age = "1s": expected at least 1m`},
		"watchdog":          {"[controller]\nwatchdog_timeout = \"100ms\"" + oneCamera, `config.toml:2: controller.watchdog_timeout = "100ms": expected 1s to 1h`},
		"recovery_command":  {"[controller]\nrecovery_command = \"a\\u0000b\"" + oneCamera, `config.toml:2: controller.recovery_command = "a\x00b": expected a command line for sh -c`},
		"colon in a name":   {"[controller]\nhttp_user = \"a:b\"\nhttp_password_file = \"f\"" + oneCamera, `config.toml:2: controller.http_user = "a:b": expected a name without a colon`},
		"related keys":      {"[controller]\n\n\nhttp_user = \"x\"" + oneCamera, `config.toml:4: controller.http_user = "x": expected http_user and http_password_file together`},
		"long value":        {"[log]\nlevel = \"" + strings.Repeat("x", 5000) + "\"" + oneCamera, `config.toml:2: log.level = "xxx`},
		"multi-line value":  {"[log]\nlevel = \"\"\"\na\nb\"\"\"" + oneCamera, `config.toml:2: log.level = "a\nb": expected trace, debug`},
		"same request":      {oneCamera + "[[camera]]\nname = \"b\"\nsource = \"test:\"\nrequest_topic = \"request/a\"", `config.toml:8: camera.b.request_topic = "request/a": expected a name of its own; this is also camera.a.request_topic`},
		"same stream":       {oneCamera + "[[camera]]\nname = \"b\"\nsource = \"test:\"\nstream_topic = \"stream/a\"", `config.toml:8: camera.b.stream_topic = "stream/a": expected a name of its own`},
		"same key":          {oneCamera + "[[camera]]\nname = \"b\"\nsource = \"test:\"\nframes_key = \"frames:a\"", `config.toml:8: camera.b.frames_key = "frames:a": expected a name of its own`},
		"crossed":           {oneCamera + "[[camera]]\nname = \"b\"\nsource = \"test:\"\nrequest_topic = \"stream/a\"", `config.toml:8: camera.b.request_topic = "stream/a": expected a name of its own; this is also camera.a.stream_topic`},
		"one camera's own":  {oneCamera + "stream_topic = \"request/a\"", `config.toml:5: camera.a.stream_topic = "request/a": expected another channel than request_topic`},
		"presence key":      {oneCamera + "frames_key = \"status:a\"", `config.toml:5: camera.a.frames_key = "status:a": expected a name of its own; this is also camera.a's status`},
		"telemetry":         {"controller.log_topic = \"request/a\"" + oneCamera, `config.toml:2: camera.a.request_topic = "request/a": expected a name of its own; this is also controller.log_topic`},
	} {
		t.Run(name, func(t *testing.T) {
			got := problems(t, tt.text)
			if len(got) != 1 || !strings.HasPrefix(got[0], tt.want) {
				t.Errorf("\n got %s\nwant %s", strings.Join(got, "\n     "), tt.want)
			}
			if len(got[0]) > 400 {
				t.Errorf("a line of %d bytes", len(got[0]))
			}
		})
	}
}

func TestOneKeyCanHaveSeveralProblems(t *testing.T) {
	got := problems(t, "[redis]\nurl = \"redis://u:p@h/x?y=z\"\nsentinel_master = \"m\"\nsentinel_addrs = [\"a\", \"b:1\", \"c\"]"+oneCamera)
	want := []string{
		`config.toml:2: redis.url = "redis://h/x": expected a database number`,
		`config.toml:2: redis.url = "redis://h/x": expected no ?options`,
		`config.toml:2: redis.url = "redis://h/x": expected no password in the URL`,
		`config.toml:4: redis.sentinel_addrs = "a": expected "host:port"`,
		`config.toml:4: redis.sentinel_addrs = "c": expected "host:port"`,
	}
	if !slices.EqualFunc(got, want, strings.HasPrefix) {
		t.Errorf("\n got %s\nwant %s", strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
}

func TestTooLarge(t *testing.T) {
	got := problems(t, strings.Repeat("#", 256<<10+1))
	if want := "config.toml: the file is larger than 256 KiB"; len(got) != 1 || got[0] != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Whatever is wrong around a password, it is not printed.
func TestSecretsStaySecret(t *testing.T) {
	const secret = "hunter2"
	for name, text := range map[string]string{
		"in the url":        "[redis]\nurl = \"redis://:hunter2@host:1/0\"" + oneCamera,
		"bad port":          "[redis]\nurl = \"redis://u:hunter2@host:x/0\"" + oneCamera,
		"no slashes":        "[redis]\nurl = \"redis:u:hunter2@host\"" + oneCamera,
		"no scheme":         "[redis]\nurl = \"u:hunter2@host\"" + oneCamera,
		"query":             "[redis]\nurl = \"redis://host/?password=hunter2\"" + oneCamera,
		"own key":           "[redis]\npassword = \"hunter2\"" + oneCamera,
		"no quotes":         "[redis]\nurl = redis://:hunter2@host" + oneCamera,
		"bare word":         "[redis]\nurl = hunter2" + oneCamera,
		"bad escape":        "[redis]\nurl = \"redis://:hunter2\\x@host\"" + oneCamera,
		"open string":       "[redis]\nurl = \"redis://:hunter2@host" + oneCamera,
		"list":              "[redis]\nurl = [\"redis://:hunter2@host\"]" + oneCamera,
		"table":             "[redis.url]\nx = \"hunter2\"" + oneCamera,
		"source":            "[[camera]]\nname = \"a\"\nsource = \"rtsp:/u:hunter2@host\"",
		"source no slashes": "[[camera]]\nname = \"a\"\nsource = \"http:u:hunter2@host\"",
		"source no quotes":  "[[camera]]\nname = \"a\"\nsource = rtsp://u:hunter2@host",
		"unknown table":     "[passwords]\nx = \"hunter2\"" + oneCamera,
	} {
		for _, line := range problems(t, text) {
			if strings.Contains(line, secret) {
				t.Errorf("%s: %s", name, line)
			}
		}
	}
	for _, environ := range []string{"FRAMEKEEPER_REDIS_URL=redis://:hunter2@h", "FRAMEKEEPER_REDIS_PASSWORD=hunter2", "FRAMEKEEPER_REDIS_URL=:hunter2@"} {
		for _, line := range problems(t, oneCamera, environ) {
			if strings.Contains(line, secret) {
				t.Errorf("%s: %s", environ, line)
			}
		}
	}
}
