package cli

import (
	"runtime/debug"
	"testing"
)

func TestChoose(t *testing.T) {
	commit := []debug.BuildSetting{{Key: "vcs", Value: "git"}, {Key: "vcs.revision", Value: "0123456789abcdef"}}
	for _, c := range []struct {
		stamped string
		info    debug.BuildInfo
		want    string
	}{
		{"v1-dirty", debug.BuildInfo{Main: debug.Module{Version: "v0.9"}, Settings: commit}, "v1-dirty"},
		{"", debug.BuildInfo{Main: debug.Module{Version: "v0.9"}, Settings: commit}, "v0.9"},
		{"", debug.BuildInfo{Main: debug.Module{Version: "(devel)"}, Settings: commit}, "0123456789ab"},
		{"", debug.BuildInfo{}, "devel"},
	} {
		if got := choose(c.stamped, &c.info); got != c.want {
			t.Errorf("%+v: got %q, want %q", c, got, c.want)
		}
	}
	if Version() == "" {
		t.Error("got an empty version")
	}
}
