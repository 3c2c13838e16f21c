// Command cam-agent owns one camera: it answers requests with frames, streams
// continuously if told to, and goes on through every trouble of Redis.
package main

import (
	"os"
	"runtime/debug"

	"framekeeper/internal/agent"
	"framekeeper/internal/cli"
)

func main() {
	// The heap is mostly held frames, which cost the collector nothing to look
	// at: collecting early saves memory that a small box needs elsewhere.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(25)
	}
	os.Exit(cli.Main(agent.Program()))
}
