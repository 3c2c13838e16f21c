package controller

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"framekeeper/internal/cli"
	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/redistest"
)

// acl is what the command prints.
func acl(t *testing.T, args ...string) (rules, remarks string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if err := Program().Run(t.Context(), append([]string{"acl"}, args...), &stdout, &stderr); err != nil {
		t.Fatalf("acl %q: %v", args, err)
	}
	return stdout.String(), stderr.String()
}

// setUsers gives a Redis the users.
func setUsers(t *testing.T, server *redistest.Server, rules string) {
	t.Helper()
	for line := range strings.Lines(rules) {
		words := strings.Fields(line)
		if words[2] == "default" {
			continue // the test's own
		}
		var args []any
		for _, w := range words {
			args = append(args, w)
		}
		if got := fmt.Sprint(server.Do(args...)); got != "OK" {
			t.Fatalf("%s: %s", line, got)
		}
	}
}

// names are what a box has on Redis.
type aclThings struct{ keys, channels []string }

func thingsOf(box, cam string) aclThings {
	return aclThings{
		[]string{"frames:" + cam, "status:" + cam},
		[]string{"request/" + cam, "stream/" + cam, "status/" + cam, "probe/" + cam + "/1", box + "_log", "control/" + box, "control-reply/" + box, "probe/" + box + "/1"},
	}
}

// everything is every way to do something with these keys and channels.
func everything(things aclThings) (all [][]any) {
	for _, key := range things.keys {
		all = append(all, [][]any{
			{"GET", key}, {"SET", key, "x"}, {"SET", key, "x", "GET"}, {"DEL", key}, {"UNLINK", key}, {"PTTL", key}, {"EXPIRE", key, 1}, {"RENAME", key, "x"}, {"COPY", key, "x"},
			{"EXISTS", key}, {"TYPE", key}, {"DUMP", key}, {"XADD", key, "*", "a", "b"}, {"XDEL", key, "1-1"}, {"XTRIM", key, "MAXLEN", 0}, {"XLEN", key},
			{"XRANGE", key, "-", "+"}, {"XREVRANGE", key, "+", "-"}, {"XREAD", "STREAMS", key, "0"}, {"XREADGROUP", "GROUP", "g", "c", "STREAMS", key, ">"},
			{"XACK", key, "g", "1-1"}, {"XAUTOCLAIM", key, "g", "c", 0, "0"}, {"XPENDING", key, "g"}, {"XGROUP", "CREATE", key, "g", "$"}, {"XGROUP", "DESTROY", key, "g"},
			{"XGROUP", "DELCONSUMER", key, "g", "c"}, {"XGROUP", "SETID", key, "g", "0"}, {"XSETID", key, "9-9"}, {"XINFO", "STREAM", key}, {"XINFO", "GROUPS", key}, {"MEMORY", "USAGE", key},
		}...)
	}
	for _, channel := range things.channels {
		all = append(all, []any{"PUBLISH", channel, "x"}, []any{"SPUBLISH", channel, "x"}, []any{"SUBSCRIBE", channel}, []any{"SSUBSCRIBE", channel}, []any{"PSUBSCRIBE", channel}, []any{"PUBSUB", "NUMSUB", channel})
	}
	return all
}

// forEverybody are commands that reach over a box.
func forEverybody() [][]any {
	return [][]any{
		{"FLUSHALL"}, {"FLUSHDB"}, {"SHUTDOWN"}, {"KEYS", "*"}, {"SCAN", 0}, {"PSUBSCRIBE", "*"}, {"PUBSUB", "CHANNELS"}, {"MONITOR"}, {"CONFIG", "SET", "save", ""}, {"CONFIG", "GET", "*"},
		{"ACL", "SETUSER", "x"}, {"ACL", "LIST"}, {"CLIENT", "KILL", "TYPE", "pubsub"}, {"CLIENT", "LIST"}, {"CLIENT", "PAUSE", 1000}, {"DEBUG", "SLEEP", 1}, {"EVAL", "return 1", 0},
		{"REPLICAOF", "NO", "ONE"}, {"SWAPDB", 0, 1}, {"SAVE"}, {"BGREWRITEAOF"}, {"SLOWLOG", "GET"}, {"INFO"},
	}
}

func dryRun(server *redistest.Server, user string, command []any) string {
	return fmt.Sprint(server.Do(append([]any{"ACL", "DRYRUN", user}, command...)...))
}

// What may a box do to another one? Nothing. What may a client? Read its box's cameras
// and ask them, but not answer, pretend a status or command; an operator commands too,
// and answers no command.
func TestWhatABoxMayDoToAnother(t *testing.T) {
	t.Parallel()
	testkit.NeedRedis(t)
	server := redistest.Start(t)
	for _, box := range []string{"a", "b"} {
		rules, remarks := acl(t, "--box", "box"+box, "--camera", "cam"+box+"1,cam"+box+"2")
		if strings.Contains(remarks, "could publish") {
			t.Errorf("Redis 7: %s", remarks)
		}
		setUsers(t, server, rules)
	}
	users := []string{"boxa", "boxa-client", "boxa-operator"}
	n := 0
	for _, user := range users {
		for _, command := range append(everything(thingsOf("boxb", "camb1")), forEverybody()...) {
			n++
			if got := dryRun(server, user, command); !strings.Contains(got, "no permission") && !strings.Contains(got, "has no permissions") {
				t.Errorf("%s, %v: got %q, want no permission", user, command, got)
			}
		}
	}
	t.Logf("what box A may do to box B: nothing (%d commands of %d users tried)", n, len(users))
	for _, c := range []struct {
		command []any
		may     string // the users that may
	}{
		{[]any{"XADD", "frames:cama1", "NOMKSTREAM", "*", "a", "b"}, "boxa"},
		{[]any{"SET", "status:cama2", "x", "PX", 1, "GET"}, "boxa"},
		{[]any{"DEL", "frames:cama1"}, "boxa"},
		{[]any{"PUBLISH", "stream/cama1", "x"}, "boxa"},
		{[]any{"PUBLISH", "status/cama1", "x"}, "boxa"},
		{[]any{"PUBLISH", "boxa_log", "x"}, "boxa"},
		{[]any{"PUBLISH", "control-reply/boxa", "x"}, "boxa"},
		{[]any{"SUBSCRIBE", "request/cama1", "probe/cama1/0"}, "boxa"},
		{[]any{"PUBLISH", "control/boxa", "x"}, "boxa boxa-operator"},
		{[]any{"SUBSCRIBE", "control-reply/boxa", "probe/client/0"}, "boxa-operator"},
		{[]any{"PUBLISH", "request/cama1", "x"}, "boxa boxa-client boxa-operator"},
		{[]any{"SUBSCRIBE", "stream/cama1", "status/cama1"}, "boxa boxa-client boxa-operator"},
		{[]any{"PUBLISH", "probe/client/0", "x"}, "boxa-client boxa-operator"},
		{[]any{"GET", "status:cama1"}, "boxa boxa-client boxa-operator"},
		{[]any{"XREAD", "BLOCK", 1, "STREAMS", "frames:cama1", "0"}, "boxa-client boxa-operator"},
		{[]any{"XREADGROUP", "GROUP", "g", "c", "STREAMS", "frames:cama1", ">"}, "boxa-client boxa-operator"},
		{[]any{"XACK", "frames:cama1", "g", "1-1"}, "boxa-client boxa-operator"},
		{[]any{"PING"}, "boxa-client boxa-operator"}, // the readers in docs/host.md, while nothing comes
		{[]any{"XGROUP", "DESTROY", "frames:cama1", "g"}, ""},
	} {
		for _, user := range users {
			if got, want := dryRun(server, user, c.command) == "OK", strings.Contains(" "+c.may+" ", " "+user+" "); got != want {
				t.Errorf("%s, %v: may %v, want %v", user, c.command, got, want)
			}
		}
	}
}

// With the words that Redis 6.2 knows, and what it leaves open is said.
func TestACLForOldRedis(t *testing.T) {
	t.Parallel()
	rules, remarks := acl(t, "--box", "boxa", "--camera", "cama1", "--for", "6.2")
	if strings.ContainsAny(rules, "()%") || !strings.Contains(remarks, "boxa-client could publish answers") {
		t.Errorf("got\n%s%s", rules, remarks)
	}
	testkit.NeedRedis(t)
	server := redistest.Start(t)
	setUsers(t, server, rules)
	for _, user := range []string{"boxa", "boxa-client", "boxa-operator"} {
		for _, command := range append(everything(thingsOf("boxb", "camb1")), forEverybody()...) {
			if got := dryRun(server, user, command); got == "OK" {
				t.Errorf("%s may %v", user, command)
			}
		}
	}
	if got := dryRun(server, "boxa-client", []any{"PUBLISH", "control/boxa", "x"}); got == "OK" {
		t.Error("a client may command its box")
	}
}

// The users in docs/security.md are the ones that the command prints.
func TestDocumentedACL(t *testing.T) {
	text, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	rules, _ := acl(t, "--box", "box1", "--camera", "cam1")
	if !strings.Contains(string(text), "```\n"+rules+"```\n") {
		t.Errorf("docs/security.md has not\n%s", rules)
	}
}

// Without flags the configuration's names count, with its own topics and database; a
// name that is a pattern means itself only.
func TestACLOfTheConfiguration(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(file, []byte("[redis]\nurl = \"redis://h:1/3\"\n[controller]\nbox = \"box7\"\nlog_topic = \"logs\"\n[[camera]]\nname = \"cam7\"\nsource = \"test:\"\nrequest_topic = \"ask*\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	rules, _ := acl(t, "--config", file)
	for _, part := range []string{"SETUSER box7-client ", ` &ask\* `, " &logs ", " &control/box7 ", " ~frames:cam7 ", " +select"} {
		if !strings.Contains(rules, part) {
			t.Errorf("got\n%s, want %q in it", rules, part)
		}
	}
	for _, args := range [][]string{{"--box", "b"}, {"--camera", "c"}, {"--box", "b x", "--camera", "c"}, {"--box", "b", "--camera", "*"}, {"--box", "b", "--camera", "c", "--for", "5"}} {
		if err := Program().Run(t.Context(), append([]string{"acl"}, args...), &bytes.Buffer{}, &bytes.Buffer{}); !cli.IsUsage(err) {
			t.Errorf("acl %q: got %v, want a usage error", args, err)
		}
	}
}
