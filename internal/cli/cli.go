// Package cli is what the three programs have in common on the command line: one
// grammar (--config FILE, --version, --help, --json), signals, the time an orderly
// end may take, exit codes, and how an error is printed. It refuses unknown
// flags and arguments with exit code 2. Only the programs' packages and their main
// functions call it.
package cli

import (
	"cmp"
	"context"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"framekeeper/internal/logging"
	"framekeeper/internal/status"
	"framekeeper/internal/text"
	"framekeeper/pkg/redisconn"
)

// EndTime is how long an orderly end may take.
const EndTime = 5 * time.Second

// Program is what main starts.
type Program struct {
	Name    string
	Command func(stdout, stderr io.Writer) *cobra.Command // made by Root
	// ExitCode is the exit code of an error; nil stands for ExitCode.
	ExitCode func(error) int
	// Grace is how long signals count as one. When a controller is killed, the
	// kernel sends its death signal again for each of its threads that dies as an
	// agent's parent; two of them must not pass for a second signal.
	Grace time.Duration
	// Unlimited programs see to it themselves that their end takes no longer than
	// EndTime.
	Unlimited bool
}

// Run runs the command that args name.
func (p Program) Run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	root := p.Command(stdout, stderr)
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.InitDefaultHelpFlag()
	root.InitDefaultVersionFlag()
	args, hint := doubleDashes(root, args)
	if hint != "" {
		logging.Say(stderr, p.Name+": "+hint)
	}
	root.SetArgs(args)
	return root.ExecuteContext(ctx)
}

// Main runs the program until it returns and yields its exit code. The first
// SIGINT or SIGTERM cancels its context; a second one ends the process at once. One
// that comes when the program has returned changes nothing: its exit code stands.
func Main(p Program) int {
	redisconn.Quiet() // what go-redis would write to standard error, the link reports anyway
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, func() {
		<-time.After(p.Grace)
		stop() // signals have their default effect again
	})
	if !p.Unlimited {
		LimitEnd(ctx, p.Name) // until the process has ended
	}
	// Standard error may be a pipe to a program that has ended: writing to it must
	// only fail.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	err := p.Run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	// From here on signals are received and discarded, also after stop. signal.Ignore
	// would not do: one that arrives while it takes effect ends the process.
	signal.Notify(make(chan os.Signal, 1), os.Interrupt, syscall.SIGTERM)
	if err != nil {
		logging.Say(os.Stderr, lines(p.Name, err))
	}
	if p.ExitCode == nil {
		return ExitCode(err)
	}
	return p.ExitCode(err)
}

// lines is an error as the program prints it: one line for each problem, of which
// a configuration may have several.
func lines(name string, err error) string {
	all := strings.Split(strings.TrimRight(err.Error(), "\n"), "\n")
	for i, line := range all {
		all[i] = name + ": " + text.Printable(line, 0)
	}
	return strings.Join(all, "\n")
}

// ExitCode is the exit code of an error that is either a usage error or not.
func ExitCode(err error) int {
	switch {
	case err == nil:
		return status.ExitOK
	case IsUsage(err):
		return status.ExitUsage
	}
	return status.ExitError
}

// LimitEnd ends the process with code 1 if it still runs EndTime after ctx has
// ended, unless release is called before: what hangs must not withhold a camera
// or a lock from the next process.
func LimitEnd(ctx context.Context, name string) (release func()) {
	ended, end := context.WithCancel(context.Background())
	stop := context.AfterFunc(ctx, func() {
		select {
		case <-ended.Done():
		case <-time.After(EndTime):
			logging.Say(os.Stderr, name+": not finished "+EndTime.String()+" after it was asked to end, exiting")
			os.Exit(1) //nolint:forbidigo // what main waits for does not return
		}
	})
	return func() { stop(); end() }
}

// stamped is set by scripts/build.sh with the linker's -X.
var stamped string //nolint:gochecknoglobals // the linker can set nothing else

// Version is the version scripts/build.sh gave the build, else the module's
// version or the commit the go command noted, else "devel".
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	return choose(stamped, info)
}

func choose(stamped string, info *debug.BuildInfo) string {
	module := info.Main.Version
	if module == "(devel)" {
		module = ""
	}
	commit := ""
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			commit = s.Value[:min(12, len(s.Value))]
		}
	}
	return cmp.Or(stamped, module, commit, "devel")
}
