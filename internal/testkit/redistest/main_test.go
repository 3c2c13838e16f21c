package redistest

import (
	"fmt"
	"os"
	"runtime"
	"testing"

	"go.uber.org/goleak"
)

// doomedRole, set in the environment, makes the test binary a program that
// starts something, prints what, and waits to be killed.
const doomedRole = "REDISTEST_DOOMED_ROLE"

func TestMain(m *testing.M) {
	if role := os.Getenv(doomedRole); role != "" {
		doomed(role)
		return
	}
	goleak.VerifyTestMain(m)
}

// program is a TB outside of any test, as test/faults brings one.
type program struct {
	dir      string
	cleanups []func()
}

func (p *program) Helper()             {}
func (p *program) Name() string        { return "program" }
func (p *program) TempDir() string     { return p.dir }
func (p *program) Cleanup(f func())    { p.cleanups = append(p.cleanups, f) }
func (p *program) Logf(string, ...any) {}
func (p *program) Fatalf(format string, args ...any) {
	fmt.Printf("fatal "+format+"\n", args...)
	runtime.Goexit()
}

// end runs the cleanups as a test would.
func (p *program) end() {
	for i := len(p.cleanups) - 1; i >= 0; i-- {
		p.cleanups[i]()
	}
	p.cleanups = nil
}

// doomed starts what role names and prints what identifies it.
func doomed(role string) {
	tb := &program{dir: os.Getenv("REDISTEST_DOOMED_DIR")}
	switch role {
	case "server":
		fmt.Println(Start(tb).Pid())
	case "frozen":
		s := Start(tb)
		s.Freeze()
		fmt.Println(s.Pid())
	case "panic":
		fmt.Println(Start(tb).Pid())
		panic("a test panics")
	case "nethost":
		h := NewNetHost(tb)
		fmt.Println(h.Start().Pid(), h.name, h.dev)
	}
	select {} // until SIGKILL
}
