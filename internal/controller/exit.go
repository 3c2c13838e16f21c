// Package controller is the program controller: it runs one cam-agent for each
// camera of the configuration, publishes how the box is, and serves the box's own
// web page. Only cmd/controller calls it.
package controller

import (
	"context"
	"errors"
	"os"

	"framekeeper/internal/cli"
)

// ExitCode is what the process ends with after Run.
func ExitCode(err error) int {
	var usage *usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		return 2
	default:
		return 1
	}
}

// Program is the controller, for main. Its end takes as long as its agents and
// its Redis are given.
func Program() cli.Program {
	return cli.Program{
		Name:      "controller",
		Run:       func(ctx context.Context, args []string) error { return Run(ctx, args, os.Stdout, os.Stderr) },
		ExitCode:  ExitCode,
		Unlimited: true,
	}
}
