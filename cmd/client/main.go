// Command client is the operator's side of Framekeeper: it requests frames,
// receives and stores them (client run), makes single requests (client
// request), shows what arrives (client watch) and which agents are there
// (client status), and commands a box's controller (client control). Run it
// with --help.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"framekeeper/internal/logging"
	"framekeeper/pkg/redisconn"
)

// endWithin is how long an orderly end may take.
const endWithin = 5 * time.Second

func main() {
	redisconn.Quiet() // go-redis would write to the terminal what the link reports anyway
	signaled, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(signaled, stop) // from now on a second signal ends the process at once
	ctx, finish := context.WithCancel(signaled)
	defer finish()
	context.AfterFunc(ctx, func() {
		time.AfterFunc(endWithin, func() { // a disk may hang
			logging.Say(os.Stderr, fmt.Sprintf("client: not finished %s after it was to end, giving up", endWithin))
			os.Exit(1)
		})
	})
	if err := run(ctx, finish, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		logging.Say(os.Stderr, "client: "+oneLine(err))
		os.Exit(1)
	}
}

// run is the whole program short of exiting. It calls finish when it wants to
// end, which cancels ctx.
func run(ctx context.Context, finish func(), args []string, stdout, stderr io.Writer) error {
	root := newRoot(&app{finish: finish, stdout: stdout, stderr: stderr})
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	return root.ExecuteContext(ctx)
}
