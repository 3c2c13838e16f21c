// Command cam-agent owns one camera: it answers requests with frames, streams
// continuously if configured, and survives every outage of Redis.
package main

import (
	"os"
	"runtime/debug"

	"framekeeper/internal/agent"
	"framekeeper/internal/cli"
)

func main() {
	// The heap is mostly frames, which have no pointers for the collector to follow:
	// collecting early saves memory that a small box needs elsewhere.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(25)
	}
	os.Exit(cli.Main(agent.Program()))
}
