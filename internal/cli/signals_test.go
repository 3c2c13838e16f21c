package cli_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"framekeeper/internal/cli"
)

// A child of these tests gets how to run from childVar: what it does when it is
// asked to end, its Grace, and how long it takes to exit after Main.
const childVar = "FRAMEKEEPER_CLI_CHILD"

func TestMain(m *testing.M) {
	if spec := os.Getenv(childVar); spec != "" {
		child(spec)
	}
	os.Exit(m.Run())
}

func child(spec string) {
	var does string
	var grace, exits int64
	if _, err := fmt.Sscan(spec, &does, &grace, &exits); err != nil {
		panic(err)
	}
	os.Args = os.Args[:1]
	code := cli.Main(cli.Program{Name: "child", Grace: time.Duration(grace), Command: func(stdout, _ io.Writer) *cobra.Command {
		return &cobra.Command{RunE: func(cmd *cobra.Command, _ []string) error {
			fmt.Fprintln(stdout, "runs")
			<-cmd.Context().Done()
			fmt.Fprintln(stdout, "asked")
			if does == "hangs" {
				select {}
			}
			return nil
		}}
	}})
	time.Sleep(time.Duration(exits))
	os.Exit(code)
}

// spawn starts a child and waits until it runs.
func spawn(t *testing.T, does string, grace, exits time.Duration) (*exec.Cmd, *bufio.Reader) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d %d", childVar, does, grace, exits))
	pipe, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() }) // it may have ended
	out := bufio.NewReader(pipe)
	awaitLine(t, out, "runs")
	return cmd, out
}

func awaitLine(t *testing.T, out *bufio.Reader, want string) {
	t.Helper()
	if line, err := out.ReadString('\n'); err != nil || strings.TrimSpace(line) != want {
		t.Errorf("the child wrote %q, %v, want %s", line, err, want)
	}
}

// Signals that come all the time while a process ends leave its exit code alone:
// before Main has returned, after it, and when Grace runs out in between.
func TestManySignalsAtTheEnd(t *testing.T) {
	const children, grace = 12, 500 * time.Millisecond
	slots := make(chan struct{}, 6)
	var all sync.WaitGroup
	for i := range children {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			cmd, _ := spawn(t, "ends", grace, []time.Duration{0, 10 * time.Millisecond, grace + 50*time.Millisecond}[i%3])
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			for n := 0; ; n++ {
				select {
				case err := <-ended:
					if err != nil {
						t.Errorf("child %d: after up to %d signals it ended with %v, want exit code 0", i, n, err)
					}
					return
				default:
					_ = cmd.Process.Signal([]os.Signal{syscall.SIGTERM, os.Interrupt}[n%2]) // it may have ended
				}
			}
		})
	}
	all.Wait()
}

// A process that hangs at its end is ended by a second signal, once Grace is over.
func TestSecondSignal(t *testing.T) {
	const grace = 100 * time.Millisecond
	cmd, out := spawn(t, "hangs", grace, 0)
	began := time.Now()
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGTERM} { // these count as one
		if err := cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
	awaitLine(t, out, "asked")
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case err := <-ended:
			status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
			if took := time.Since(began); !ok || !status.Signaled() || status.Signal() != syscall.SIGTERM || took < grace || took > cli.EndTime {
				t.Errorf("it ended with %v after %v, want SIGTERM's default effect after %v", err, took, grace)
			}
			return
		case <-time.After(5 * time.Millisecond):
			_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		}
	}
}
