// Command testsum reads what "go test -json" writes and shows what people want
// to know: a line for each package, the output of what failed, and the reason
// of what was skipped. With -counts it appends "passed failed skipped" to a
// file. It fails if anything failed. scripts/test.sh is its only caller.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
)

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "testsum:", err)
		os.Exit(1)
	}
}

var errFailed = errors.New("tests failed")

func run(args []string, in io.Reader, out io.Writer) error {
	flags := flag.NewFlagSet("testsum", flag.ContinueOnError)
	counts := flags.String("counts", "", "append the counts to this `FILE`")
	if err := flags.Parse(args); err != nil {
		return err
	}
	s := newSummary(out)
	if err := s.read(in); err != nil {
		return err
	}
	if *counts != "" {
		if err := appendCounts(*counts, s); err != nil {
			return err
		}
	}
	if s.failed > 0 {
		return errFailed
	}
	return nil
}

func appendCounts(file string, s *summary) error {
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open counts: %w", err)
	}
	_, err = fmt.Fprintln(f, s.passed, s.failed, s.skipped)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write counts: %w", err)
	}
	return nil
}
