package packagetest

import (
	"debug/elf"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// makePackage runs package.sh and returns the package's path.
func makePackage(t *testing.T, args ...string) string {
	t.Helper()
	dir := t.TempDir()
	out, err := run(t, filepath.Join(repository, "scripts/package.sh"), append(args, "--output", dir)...)
	if err != nil {
		t.Fatalf("package.sh %q: %v\n%s", args, err, out)
	}
	found, err := filepath.Glob(filepath.Join(dir, "framekeeper_*.deb"))
	if err != nil || len(found) != 1 {
		t.Fatalf("package.sh %q made %q, %v, want one package", args, found, err)
	}
	return found[0]
}

// TestOpenCVDepends: a package with OpenCV names the libraries' packages, and
// apt would install it on this machine, which has built it.
func TestOpenCVDepends(t *testing.T) {
	if testing.Short() {
		t.Skip("builds cam-agent with OpenCV")
	}
	for _, program := range []string{"pkg-config", "dpkg-shlibdeps"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("needs %s: %v", program, err)
		}
	}
	if out, err := run(t, "pkg-config", "--exists", "--print-errors", "opencv4"); err != nil {
		t.Skipf("needs libopencv-dev: %s", out)
	}
	file := makePackage(t, "--opencv")
	depends, err := run(t, "dpkg-deb", "-f", file, "Depends")
	if err != nil || !strings.Contains(depends, "libopencv-videoio") || !strings.Contains(depends, "libc6 (>= ") {
		t.Errorf("the package depends on %q (%v), want OpenCV's libraries and libc", depends, err)
	}
	if out, err := run(t, "apt-get", "--simulate", "install", file); err != nil || !strings.Contains(out, "framekeeper") {
		t.Errorf("apt-get --simulate: %v\n%s", err, out)
	}
}

// TestOtherMachine makes a package for a Raspberry Pi.
func TestOtherMachine(t *testing.T) {
	if testing.Short() {
		t.Skip("builds everything for another architecture")
	}
	if out, err := run(t, filepath.Join(repository, "scripts/package.sh"), "--opencv", "--arch", "arm64"); err == nil || !strings.Contains(out, "--arch goes with --static") {
		t.Errorf("OpenCV for another machine: got %v and %q, want a refusal", err, out)
	}
	file := makePackage(t, "--static", "--arch", "arm64")
	if arch, err := run(t, "dpkg-deb", "-f", file, "Architecture"); err != nil || arch != "arm64" {
		t.Errorf("the package is for %q (%v), want arm64", arch, err)
	}
	tree := t.TempDir()
	if out, err := run(t, "dpkg-deb", "-x", file, tree); err != nil {
		t.Fatalf("unpack: %v\n%s", err, out)
	}
	for _, name := range []string{"cam-agent", "controller", "client"} {
		f, err := elf.Open(filepath.Join(tree, "usr/lib/framekeeper", name))
		if err != nil {
			t.Fatal(err)
		}
		libs, err := f.ImportedLibraries()
		if f.Machine != elf.EM_AARCH64 || err != nil || len(libs) > 0 {
			t.Errorf("%s is for %v and needs %q (%v), want AARCH64 and nothing", name, f.Machine, libs, err)
		}
		_ = f.Close()
	}
}
