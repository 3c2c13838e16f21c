package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/frame"
)

// agentRights are all that an agent uses: those that docs/security.md gives it, and two
// that it does without there.
const agentRights = "+subscribe +publish +get +pttl +set +del +xadd +xlen +xtrim +xrevrange +xinfo|stream +xinfo|groups +multi +exec +role +echo +config|get +memory|usage"

// withoutRight starts an agent whose user on Redis lacks one right, beside a status that
// an earlier one has left. Its frames are larger than a subscriber may have to wait for,
// and fill the stream.
func withoutRight(t *testing.T, right string) (server *redistest.Server, stop func() error, log *testkit.Log) {
	t.Helper()
	if !strings.Contains(agentRights, "+"+right) {
		t.Fatalf("%s is no right of an agent", right)
	}
	rights := strings.Join(strings.Fields(strings.Replace(agentRights+" ", "+"+right+" ", "", 1)), " ")
	server = redistest.Start(t, redistest.WithACL("user default on nopass ~* &* +@all",
		"user agent on >secret resetkeys ~frames:* ~status:* resetchannels &request/* &stream/* &status/* &probe/* "+rights))
	server.Do("SET", "status:greencam1", `{"instance":"before","owner":"before"}`, "PX", 500)
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	stop, log = startAgent(t, writeConfig(t, server.URL(),
		fmt.Sprintf("username = \"agent\"\npassword_file = %q\n[delivery]\nstream_max_bytes = \"1MiB\"\n", password),
		"source = \"test:\"\nwidth = 640\nheight = 480\nencoding = \"raw\"\npublish_fps = 5\nstatus_interval = \"200ms\"\n"))
	return server, stop, log
}

// Each right that an agent can do without is taken from it: it starts, answers, and says
// once which feature is off.
func TestEachOptionalRightIsDoneWithout(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	for right, feature := range optionalRights() {
		if right == "xtrim" {
			continue // used only when Redis is out of memory
		}
		t.Run(right, func(t *testing.T) {
			t.Parallel()
			server, stop, log := withoutRight(t, right)
			m := newAsker(t, server.URL()).ask(t, map[string]any{"angle": 25})
			if m.Header.Status != frame.StatusOK {
				t.Errorf("answered with %+v", m.Header)
			}
			if right == "del" { // which comes at the end
				if err := stop(); err != nil {
					t.Fatal(err)
				}
			}
			testkit.Eventually(t, "a line that names "+right, func() bool { return strings.Contains(log.String(), "right=+"+right) })
			if err := stop(); err != nil {
				t.Fatal(err)
			}
			if text := log.String(); strings.Count(text, "right=") != 1 || !strings.Contains(text, feature) || !strings.Contains(text, "NOPERM") {
				t.Errorf("the log does not name %q once:\n%s", feature, text)
			}
		})
	}
}

// What an agent cannot do without is named too, and requests are answered all the same
// where that is possible.
func TestAMissingRightIsNamed(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	for right, answers := range map[string]bool{"subscribe": false, "publish": false, "set": true, "xadd": true, "xrevrange": true} {
		t.Run(right, func(t *testing.T) {
			t.Parallel()
			server, _, log := withoutRight(t, right)
			testkit.Eventually(t, "a line that names "+right, func() bool {
				return strings.Contains(log.String(), "NOPERM") && strings.Contains(log.String(), "'"+right+"'")
			})
			if answers {
				newAsker(t, server.URL()).ask(t, map[string]any{"angle": 25})
			}
		})
	}
}
