package box

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"framekeeper/internal/testkit/vmtest"
)

// machineDisk is the disk that outlives a machine, as camera-vm.sh names it.
const machineDisk = "/disk"

// inMachine makes the box of a test's inner half: all that it keeps is on the
// disk, and its configuration is written anew at every boot.
func inMachine(t *testing.T, text string) *box {
	t.Helper()
	b := &box{T: t, dir: machineDisk, config: filepath.Join(t.TempDir(), "config.toml"), http: "127.0.0.1:8080"}
	b.write(text)
	return b
}

// machineTest is a test's outer half: machines with one disk, one after the
// other.
type machineTest struct {
	*testing.T
	disk string
}

func newMachineTest(t *testing.T) *machineTest {
	t.Helper()
	if testing.Short() {
		t.Skip("boots machines, which takes minutes")
	}
	return &machineTest{T: t, disk: filepath.Join(t.TempDir(), "disk.img")}
}

// boot runs a scene of this test in a machine whose clock begins at clock, or
// is right if that is empty.
func (m *machineTest) boot(scene, clock string, said func(text string)) *vmtest.Machine {
	m.Helper()
	self, err := os.Executable()
	if err != nil {
		m.Fatal(err)
	}
	args := []string{"--modules", "", "--memory", "1024", "--timeout", "400", "--disk", m.disk}
	if clock != "" {
		args = append(args, "--clock", clock)
	}
	args = append(args, "--", "env", sceneVariable+"="+scene, binVariable+"="+os.Getenv(binVariable),
		self, "-test.v=test2json", "-test.run", "^"+m.Name()+"$")
	return vmtest.Boot(m.T, nil, args, said)
}

// cutCue is the inner half's wish that the power fail.
const cutCue = "cut"

// awaitCut says so, if all went well so far, and waits for it.
func (b *box) awaitCut() {
	b.Helper()
	if b.Failed() {
		b.FailNow()
	}
	vmtest.Say(cutCue)
	<-b.Context().Done()
}

// bootAndCut is boot, and takes the power away some time after the cue.
func (m *machineTest) bootAndCut(scene, clock string, after time.Duration, said func(text string)) {
	m.Helper()
	cue := make(chan struct{})
	machine := m.boot(scene, clock, func(text string) {
		switch {
		case text == cutCue:
			close(cue)
		case said != nil:
			said(text)
		}
	})
	select {
	case <-cue:
		time.Sleep(after)
	case <-machine.Off():
	}
	machine.Cut(m.T)
}
