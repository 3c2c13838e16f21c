// Package cli is what the three programs have in common on the command line:
// signals, the time an orderly end may take, and how an error is printed. Only
// the programs' packages and their main functions call it.
package cli

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"framekeeper/internal/logging"
	"framekeeper/pkg/redisconn"
)

// EndTime is how long an orderly end may take.
const EndTime = 5 * time.Second

// Program is what main starts.
type Program struct {
	Name     string
	Run      func(ctx context.Context, args []string) error
	ExitCode func(error) int
	// Grace is how long signals count as one. When a controller is killed, the
	// kernel sends its death signal again for each of its threads that dies as an
	// agent's parent; two of them must not pass for a second signal.
	Grace time.Duration
	// Unlimited programs see to it themselves that their end takes no longer than
	// EndTime.
	Unlimited bool
}

// Main runs the program until it returns and yields its exit code. The first
// SIGINT or SIGTERM cancels its context; a second one ends the process at once.
func Main(p Program) int {
	redisconn.Quiet() // what go-redis would write to standard error, the link reports anyway
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, func() {
		<-time.After(p.Grace)
		stop() // signals have their default effect again
	})
	if !p.Unlimited {
		LimitEnd(ctx, p.Name)
	}
	// Standard error may be a pipe to a program that has ended: writing to it must
	// only fail.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	err := p.Run(ctx, os.Args[1:])
	if err != nil {
		logging.Say(os.Stderr, p.Name+": "+err.Error())
	}
	return p.ExitCode(err)
}

// LimitEnd ends the process with code 1 if it still runs EndTime after ctx has
// ended: what hangs must not keep a camera or a lock from the next process.
func LimitEnd(ctx context.Context, name string) {
	context.AfterFunc(ctx, func() {
		time.AfterFunc(EndTime, func() {
			logging.Say(os.Stderr, name+": not finished "+EndTime.String()+" after it was asked to end, exiting")
			os.Exit(1) //nolint:forbidigo // what main waits for does not return
		})
	})
}
