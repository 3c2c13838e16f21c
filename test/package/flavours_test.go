package packagetest

import (
	"debug/elf"
	"os/exec"
	"path/filepath"
	"slices"
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
	hardened(t, file, thisMachine(t), "cam-agent")
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
	hardened(t, file, elf.EM_AARCH64)
}

// hardened looks at the programs of a package: they are position-independent,
// what the linker writes is read-only when they run, and but for OpenCV's
// cam-agent they need no library.
func hardened(t *testing.T, file string, machine elf.Machine, needLibraries ...string) {
	t.Helper()
	tree := t.TempDir()
	if out, err := run(t, "dpkg-deb", "-x", file, tree); err != nil {
		t.Fatalf("unpack: %v\n%s", err, out)
	}
	for _, name := range []string{"cam-agent", "controller", "client"} {
		f, err := elf.Open(filepath.Join(tree, "usr/lib/framekeeper", name))
		if err != nil {
			t.Fatal(err)
		}
		if f.Machine != machine || f.Type != elf.ET_DYN {
			t.Errorf("%s is %v for %v, want ET_DYN for %v", name, f.Type, f.Machine, machine)
		}
		if !slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_GNU_RELRO }) {
			t.Errorf("%s has no part that becomes read-only (PT_GNU_RELRO)", name)
		}
		flags, err := f.DynValue(elf.DT_FLAGS)
		if err != nil || len(flags) != 1 || flags[0]&uint64(elf.DF_BIND_NOW) == 0 {
			t.Errorf("%s binds late: DT_FLAGS is %#x (%v), want DF_BIND_NOW", name, flags, err)
		}
		libs, err := f.ImportedLibraries()
		if err != nil || (len(libs) > 0) != slices.Contains(needLibraries, name) {
			t.Errorf("%s needs the libraries %q (%v)", name, libs, err)
		}
		_ = f.Close()
	}
}

// TestStatic: the package of this machine without OpenCV.
func TestStatic(t *testing.T) {
	if testing.Short() {
		t.Skip("builds everything")
	}
	hardened(t, filepath.Join(packages(t), "0.1.deb"), thisMachine(t))
}

// thisMachine is what the test itself was built for.
func thisMachine(t *testing.T) elf.Machine {
	t.Helper()
	f, err := elf.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	return f.Machine
}
