// Command faults breaks Redis, and the way to it, in every manner the link has
// to survive, and measures what a real cam-agent makes of it.
//
// It promises real parts only: cam-agent built from cmd/, redis-server
// processes, sockets, network namespaces. The agent is judged by its log lines,
// stamped as they arrive, and by what comes out of Redis; nothing inside it is
// looked at. It refuses to repair a figure: a missed budget is a failed run.
//
//	go run ./test/faults                    the fault matrix
//	go run ./test/faults -mode cycles       100 restarts of Redis under load
//	go run ./test/faults -mode stock        beside an agent on go-redis's own Channel()
//	go run ./test/faults -mode links        200 links that reconnect at once
//	go run ./test/faults -mode soak         random faults for -minutes
//	go run ./test/faults -mode loss         what is delivered and what is declared, fault by fault
//	go run ./test/faults -mode outage       a long outage of large frames, lasting -observe
//	go run ./test/faults -mode storm        random faults for -minutes, kill -9 and lost data among them
//	go run ./test/faults -mode box          a controller with four cameras, random faults for -minutes
//	go run ./test/faults -mode hostile      a broken or malicious Redis, against each program
//	go run ./test/faults -mode agents       what ends an agent or all of them, and how soon there is a new frame
//
// Network rows need root; without it they are skipped, with the reason.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"time"

	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/redisconn"
)

// options are the command line and what all modes share.
type options struct {
	mode     string
	run      *regexp.Regexp
	repsFast int
	repsSlow int
	short    bool
	json     string
	minutes  float64
	seed     uint64
	cycles   int
	links    int
	observe  time.Duration

	ctx      context.Context
	bin      binaries
	out      io.Writer
	notes    io.Writer // what goes on, as it goes on
	agentLog io.Writer // nil: the agents' logs are not shown
	random   *rand.Rand
	stills   *stills
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		os.Exit(1)
	}
}

func parse(args []string, stderr io.Writer) (*options, error) {
	o := &options{}
	set := flag.NewFlagSet("faults", flag.ContinueOnError)
	set.SetOutput(stderr)
	set.StringVar(&o.mode, "mode", "matrix", "matrix, cycles, stock, links, soak, loss, outage, storm, box, agents or hostile")
	pattern := set.String("run", "", "only rows whose name matches this `regexp`")
	set.IntVar(&o.repsFast, "reps-fast", 20, "repetitions of a fast fault")
	set.IntVar(&o.repsSlow, "reps-slow", 5, "repetitions of a slow fault")
	set.BoolVar(&o.short, "short", false, "each fault once, and for a shorter time")
	set.StringVar(&o.json, "json", "", "write all figures to this `file` too")
	set.Float64Var(&o.minutes, "minutes", 30, "how long -mode soak, -mode storm and -mode box last")
	set.Uint64Var(&o.seed, "seed", 1, "the random numbers' seed")
	set.IntVar(&o.cycles, "cycles", 100, "restarts in -mode cycles")
	set.IntVar(&o.links, "links", 200, "links in -mode links")
	set.DurationVar(&o.observe, "observe", time.Minute, "how long -mode stock watches each fault, and the outage of -mode outage")
	verbose := set.Bool("v", false, "show the agents' logs")
	if err := set.Parse(args); err != nil {
		return nil, err
	}
	var err error
	if o.run, err = regexp.Compile(*pattern); err != nil {
		return nil, fmt.Errorf("parse -run: %w", err)
	}
	if *verbose {
		o.agentLog = stderr
	}
	return o, nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := redistest.Available(); err != nil {
		return err
	}
	redisconn.Quiet()
	watching, stop := context.WithCancel(ctx)
	o.stills = watchMachine(watching)
	defer func() { stop(); <-o.stills.done }()
	o.ctx, o.out, o.notes = ctx, stdout, stderr
	o.random = rand.New(rand.NewPCG(o.seed, 0))
	dir, err := os.MkdirTemp("", "fk-faults-bin-")
	if err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if o.bin, err = build(ctx, dir); err != nil {
		return err
	}
	mode, ok := map[string]func() error{
		"matrix": o.matrix, "cycles": o.cyclesMode, "stock": o.stockMode, "links": o.linksMode, "soak": o.soakMode,
		"loss": o.lossMode, "outage": o.outageMode, "storm": o.stormMode, "box": o.boxMode, "agents": o.agentsMode,
		"hostile": o.hostileMode,
	}[o.mode]
	if !ok {
		return fmt.Errorf("-mode %s: expected matrix, cycles, stock, links, soak, loss, outage, storm, box, agents or hostile", o.mode)
	}
	return mode()
}

// matrix runs all rows and prints them.
func (o *options) matrix() error {
	var results []result
	for _, f := range rows() {
		if !o.run.MatchString(f.name) || o.ctx.Err() != nil {
			continue
		}
		began := time.Now()
		res := o.repeat(f)
		results = append(results, res)
		fmt.Fprintf(o.notes, "%s: %d repetitions in %s\n", f.name, len(res.Samples), time.Since(began).Round(100*time.Millisecond))
	}
	slack := 1
	if o.short {
		slack = shortSlack
	}
	failed := printMatrix(o.out, results, slack)
	if o.json != "" {
		if err := writeJSON(o.json, results); err != nil {
			return err
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d rows missed their budget", failed, len(results))
	}
	return o.ctx.Err()
}

// shortSlack widens the time budgets where one repetition on a busy machine
// has to decide.
const shortSlack = 3
