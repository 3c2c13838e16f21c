// Command controller runs one cam-agent for every camera of the configuration,
// publishes how the box is, and serves the box's own web page.
package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"

	"framekeeper/internal/logging"
	"framekeeper/pkg/redisconn"
)

func main() {
	redisconn.Quiet() // what go-redis would write to standard error, the link reports anyway
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal asks for an orderly end. From then on signals have their
	// default effect again, so that a second one ends the program at once; the
	// kernel then passes a SIGTERM on to the agents.
	context.AfterFunc(ctx, stop)

	// A log that nobody reads any more (a closed terminal, a pipe to a program
	// that has ended) must not end the box: with this, writing to it only fails.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)

	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if err == nil {
		return
	}
	logging.Say(os.Stderr, "controller: "+err.Error())
	var usage *usageError
	if errors.As(err, &usage) {
		os.Exit(2)
	}
	os.Exit(1)
}
