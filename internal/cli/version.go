package cli

import (
	"cmp"
	"runtime/debug"
)

// stamped is set by scripts/build.sh with the linker's -X.
var stamped string //nolint:gochecknoglobals // the linker can set nothing else

// Version is the version scripts/build.sh gave the build, else the module's
// version or the commit the go command noted, else "devel".
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	return choose(stamped, info)
}

func choose(stamped string, info *debug.BuildInfo) string {
	module := info.Main.Version
	if module == "(devel)" {
		module = ""
	}
	commit := ""
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			commit = s.Value[:min(12, len(s.Value))]
		}
	}
	return cmp.Or(stamped, module, commit, "devel")
}
