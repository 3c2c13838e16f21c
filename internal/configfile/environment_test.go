package configfile

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"framekeeper/internal/bytesize"
	"framekeeper/pkg/outbox"
)

func TestEnvironment(t *testing.T) {
	c := mustParse(t, "state_dir = \"/file\"\n[redis]\nurl = \"redis://file:1\"\nembedded = false\n"+oneCamera,
		"HOME=/root", "FRAMEKEEPER_STATE_DIR=/env", "FRAMEKEEPER_REDIS_URL=unix:///run/redis.sock", "FRAMEKEEPER_REDIS_EMBEDDED=true",
		"FRAMEKEEPER_REDIS_IO_TIMEOUT=2s", "FRAMEKEEPER_DELIVERY_MODE=pubsub", "FRAMEKEEPER_DELIVERY_RETAIN_BYTES=5MiB",
		"FRAMEKEEPER_LOG_MAX_SIZE_MB=7", "FRAMEKEEPER_LOG_FILE=a=b", "FRAMEKEEPER_CONTROLLER_HTTP=", "FRAMEKEEPER_CONTROLLER_BOX=box7",
		"NOT_FRAMEKEEPER_X=1", "nonsense")
	want := mustParse(t, oneCamera)
	want.StateDir, want.Redis.URL, want.Redis.Embedded, want.Redis.IOTimeout = "/env", "unix:///run/redis.sock", true, 2*time.Second
	want.Delivery.Mode, want.Delivery.RetainBytes = outbox.ModePubSub, 5*bytesize.MiB
	want.Log.MaxSizeMB, want.Log.File = 7, "a=b"
	want.Controller.Web.HTTP, want.Controller.Box, want.Controller.Telemetry.LogTopic = "", "box7", "box7_log"
	if !reflect.DeepEqual(c, want) {
		t.Errorf("\n got %+v\nwant %+v", c, want)
	}
}

func TestEnvironmentRefuses(t *testing.T) {
	for entry, want := range map[string]string{
		"FRAMEKEEPER_REDIS_ULR=x":                 `FRAMEKEEPER_REDIS_ULR: unknown variable, did you mean FRAMEKEEPER_REDIS_URL?`,
		"FRAMEKEEPER_STATEDIR=x":                  `FRAMEKEEPER_STATEDIR: unknown variable, did you mean FRAMEKEEPER_STATE_DIR?`,
		"FRAMEKEEPER_redis_url=x":                 `FRAMEKEEPER_redis_url: unknown variable, did you mean FRAMEKEEPER_REDIS_URL?`,
		"FRAMEKEEPER_FLY_ME_TO_THE_MOON=x":        `FRAMEKEEPER_FLY_ME_TO_THE_MOON: unknown variable; expected FRAMEKEEPER_<TABLE>_<KEY>`,
		"FRAMEKEEPER_REDIS_SENTINEL_ADDRS=a:1":    `FRAMEKEEPER_REDIS_SENTINEL_ADDRS: a list cannot be set by a variable`,
		"FRAMEKEEPER_CAMERA_WIDTH=5":              `FRAMEKEEPER_CAMERA_WIDTH: cameras cannot be set by variables`,
		"FRAMEKEEPER_REDIS_EMBEDDED=1":            `FRAMEKEEPER_REDIS_EMBEDDED = "1": expected true or false`,
		"FRAMEKEEPER_LOG_MAX_SIZE_MB=many":        `FRAMEKEEPER_LOG_MAX_SIZE_MB = "many": expected a whole number`,
		"FRAMEKEEPER_LOG_MAX_SIZE_MB=0":           `FRAMEKEEPER_LOG_MAX_SIZE_MB = 0: expected 1 to 100000`,
		"FRAMEKEEPER_LOG_LEVEL=":                  `FRAMEKEEPER_LOG_LEVEL = "": expected trace, debug, info, warn or error`,
		"FRAMEKEEPER_DELIVERY_RETAIN_BYTES=1":     `FRAMEKEEPER_DELIVERY_RETAIN_BYTES = "1B": expected 1MiB to 1TiB`,
		"FRAMEKEEPER_CLIENT_REQUEST_INTERVAL=100": `FRAMEKEEPER_CLIENT_REQUEST_INTERVAL = "100": expected a duration such as 600ms`,
	} {
		got := problems(t, oneCamera, entry)
		if len(got) != 1 || !strings.HasPrefix(got[0], "environment: "+want) {
			t.Errorf("%s:\n got %s\nwant environment: %s", entry, strings.Join(got, "\n     "), want)
		}
	}
}

// A recovery command may start one of our programs.
func TestEnvironmentOfARecoveryCommand(t *testing.T) {
	mustParse(t, oneCamera, "FRAMEKEEPER_CAMERA=a", "FRAMEKEEPER_SOURCE=test:", "FRAMEKEEPER_EXIT_CODE=3", "FRAMEKEEPER_RESTARTS=5")
}

// A variable that is right does not hide a value in the file that is wrong.
func TestEnvironmentDoesNotHideTheFile(t *testing.T) {
	got := problems(t, "[log]\nmax_size_mb = \"x\""+oneCamera, "FRAMEKEEPER_LOG_MAX_SIZE_MB=5")
	if want := `config.toml:2: log.max_size_mb = "x": expected a whole number`; len(got) != 1 || got[0] != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
