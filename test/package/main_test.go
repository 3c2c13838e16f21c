// Package packagetest installs the Debian package in a minimal Debian, by hand
// and under a running systemd, and looks whether it does there what it should.
package packagetest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// repository is where the tests' own directory is.
const repository = "../.."

// need skips the test where it cannot run.
func need(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes a minute, and the first time makes a Debian of 260 MB")
	}
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var caps [2]unix.CapUserData
	err := unix.Capget(&head, &caps[0])
	if err != nil || os.Geteuid() != 0 || caps[0].Effective&(1<<unix.CAP_SYS_ADMIN) == 0 {
		t.Skip("needs root with CAP_SYS_ADMIN, for namespaces and mounts")
	}
	for _, program := range []string{"debootstrap", "unshare", "nsenter", "pivot_root", "dpkg", "ip"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("needs %s: %v", program, err)
		}
	}
}

// news is what version 0.2 has in its configuration and 0.1 has not.
const news = "## what is new in 0.2"

// versions are built once for all tests. 0.2 is 0.1 with another configuration.
var versions = sync.OnceValues(func() (string, error) { //nolint:gochecknoglobals // built once for all tests
	dir, err := filepath.Abs(filepath.Join(repository, ".cache/package/test"))
	if err != nil {
		return "", err
	}
	script := `set -eu
"$1/scripts/package.sh" --static --version 0.1 --output "$2"
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
dpkg-deb -R "$2"/framekeeper_0.1_*.deb "$tree"
sed -i 's/^Version: .*/Version: 0.2/' "$tree/DEBIAN/control"
echo "$3" >>"$tree/etc/framekeeper/config.toml"
mv "$2"/framekeeper_0.1_*.deb "$2/0.1.deb"
dpkg-deb -Znone -b "$tree" "$2/0.2.deb"
`
	cmd := exec.Command("bash", "-c", script, "bash", repository, dir, news) //nolint:noctx // ends by itself
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("make packages: %w\n%s", err, out)
	}
	return dir, nil
})

func packages(t *testing.T) string {
	t.Helper()
	dir, err := versions()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// run runs a program of this machine, also in Cleanup.
func run(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 10*time.Minute)
	defer cancel()
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return strings.TrimSpace(out.String()), err
}

// eventually waits for a condition and says how long it took.
func eventually(t *testing.T, limit time.Duration, what string, ok func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for !ok() {
		if time.Since(began) > limit {
			t.Fatalf("waited %v in vain for %s", limit, what)
		}
		<-again.C
	}
	return time.Since(began).Round(time.Millisecond)
}
