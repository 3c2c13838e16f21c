// Package agent is the program cam-agent: it owns one camera, answers requests
// with frames, streams continuously if told to, and goes on through every trouble
// of Redis. Only cmd/cam-agent calls it.
package agent

import (
	"errors"
	"time"

	"framekeeper/internal/cli"
	"framekeeper/internal/status"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/outbox"
)

// Program is cam-agent, for main.
func Program() cli.Program {
	return cli.Program{
		Name:     "cam-agent",
		Command:  command,
		ExitCode: ExitCode,
		Grace:    500 * time.Millisecond,
	}
}

// ExitCode is what the process ends with after its command.
func ExitCode(err error) int {
	switch {
	case err == nil:
		return status.ExitOK
	case cli.IsUsage(err), errors.Is(err, camera.ErrUnsupported):
		return status.ExitUsage
	case errors.Is(err, camera.ErrReopenLimit), errors.Is(err, camera.ErrHung):
		return status.ExitCamera
	case errors.Is(err, outbox.ErrClaimed):
		return status.ExitClaimed
	default:
		return status.ExitError
	}
}
