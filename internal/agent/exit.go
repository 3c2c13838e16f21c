// Package agent is the program cam-agent: it owns one camera, answers requests
// with frames, streams continuously if told to, and goes on through every trouble
// of Redis. Only cmd/cam-agent calls it.
package agent

import (
	"context"
	"os"
	"time"

	"errors"
	"framekeeper/internal/cli"

	"framekeeper/pkg/camera"
	"framekeeper/pkg/outbox"
)

// Exit codes; the controller knows them.
const (
	ExitError  = 1
	ExitUsage  = 2 // the command line or the configuration is wrong: starting again will not help
	ExitCamera = 3 // the camera gave up or hangs: a fresh process may help
	ExitOwned  = 4 // another cam-agent serves the camera
)

// Program is cam-agent, for main.
func Program() cli.Program {
	return cli.Program{
		Name:     "cam-agent",
		Run:      func(ctx context.Context, args []string) error { return Run(ctx, args, os.Stdout, os.Stderr) },
		ExitCode: ExitCode,
		Grace:    500 * time.Millisecond,
	}
}

// ExitCode is what the process ends with after Run.
func ExitCode(err error) int {
	var usage *usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage), errors.Is(err, camera.ErrUnsupported):
		return ExitUsage
	case errors.Is(err, camera.ErrGaveUp), errors.Is(err, camera.ErrStuck):
		return ExitCamera
	case errors.Is(err, outbox.ErrClaimed):
		return ExitOwned
	default:
		return ExitError
	}
}
