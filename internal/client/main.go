// Package client is the program client: it requests, receives and stores frames,
// shows which agents are there, and commands a box's controller. Only cmd/client
// calls it.
package client

import (
	"context"
	"errors"
	"io"
	"os"

	"framekeeper/internal/cli"
)

// Program is the client, for main.
func Program() cli.Program {
	return cli.Program{Name: "client", Run: runToEnd, ExitCode: exitCode}
}

// runToEnd is Run with an end of its own: a client may finish by itself.
func runToEnd(ctx context.Context, args []string) error {
	ctx, finish := context.WithCancel(ctx)
	defer finish()
	cli.LimitEnd(ctx, "client")
	if err := Run(ctx, finish, args, os.Stdout, os.Stderr); err != nil {
		return errors.New(OneLine(err))
	}
	return nil
}

func exitCode(err error) int {
	if err != nil {
		return 1
	}
	return 0
}

// Run is the whole program short of exiting. It calls finish when it wants to
// end, which cancels ctx.
func Run(ctx context.Context, finish func(), args []string, stdout, stderr io.Writer) error {
	root := newRoot(&app{finish: finish, stdout: stdout, stderr: stderr})
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	return root.ExecuteContext(ctx)
}
