// Command cam-agent owns one camera: it answers requests with frames, streams
// continuously if told to, and keeps both going through every trouble of Redis.
package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"framekeeper/internal/logging"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/datatransfer"
)

// Exit codes; the controller knows them.
const (
	exitError  = 1
	exitUsage  = 2 // the command line or the configuration is wrong: starting again will not help
	exitCamera = 3 // the camera gave up or hangs: a fresh process may help
	exitOwned  = 4 // another cam-agent serves the camera
)

// endTime is how long an orderly end may take in all.
const endTime = 5 * time.Second

// oneSignal is how long signals count as one. When the controller is killed, the
// kernel sends its death signal again for every thread of it that dies with us
// as its child for the moment; two of them must not pass for somebody's haste.
const oneSignal = 500 * time.Millisecond

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	go func() {
		<-ctx.Done()
		<-time.After(oneSignal)
		stop() // a second signal ends the process at once
	}()
	limitEnd(ctx)
	// Standard error is a pipe to the controller. When that is killed, the next
	// log line must not take the agent with it before it has ended in order.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	// The heap is mostly held frames, which cost the collector nothing to look
	// at: collecting early saves memory that a small box needs elsewhere.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(25)
	}
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if err != nil {
		logging.Say(os.Stderr, "cam-agent: "+err.Error())
	}
	os.Exit(exitCode(err))
}

// limitEnd ends the process when that takes too long after a signal: what hangs
// must not keep the camera from the next agent, even if no controller is left
// to see to that.
func limitEnd(ctx context.Context) {
	context.AfterFunc(ctx, func() {
		<-time.After(endTime)
		logging.Say(os.Stderr, "cam-agent: still busy "+endTime.String()+" after it was told to end, leaving the rest")
		os.Exit(exitError)
	})
}

func exitCode(err error) int {
	var usage *usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage), errors.Is(err, camera.ErrUnsupported):
		return exitUsage
	case errors.Is(err, camera.ErrGaveUp), errors.Is(err, camera.ErrStuck):
		return exitCamera
	case errors.Is(err, datatransfer.ErrOwned):
		return exitOwned
	default:
		return exitError
	}
}
