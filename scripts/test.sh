#!/usr/bin/env bash
# Every check there is, as CI runs it. Needs bash, Go and apt; installs the rest.
#
#   test.sh            all tests
#   test.sh --full     the same with every power cut and four times the fuzzing, as CI runs it
#   test.sh --quick    without race detector, linter and fuzzing; short tests only
#
# FUZZ_TIME (default 5000x, with --full 20000x; inputs; or a time such as 30s) is how long each fuzz
# target runs. A time as short as a second can end in Go's own "context deadline
# exceeded". With CI=true a skipped test is a failure.
# shellcheck disable=SC2317  # step calls the functions
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

quick=no
fuzz_time=${FUZZ_TIME:-5000x}
case ${1:-} in
'') ;;
--full)
	fuzz_time=${FUZZ_TIME:-20000x}
	export BOX_TEST_FULL=yes
	;;
--quick) quick=yes ;;
*) die "unknown argument $1; usage: test.sh [--full | --quick]" ;;
esac

cd "$root"
work=$(mktemp -d)
events=0
failed_steps=()
finish() {
	local pid
	for pid in $(jobs -p); do
		kill "$pid" 2>/dev/null || true
	done
	rm -rf "$work"
}
trap finish EXIT

# step NAME COMMAND...: run it, tell how long it took, remember if it failed.
step() {
	local name=$1 began=$SECONDS result=ok
	shift
	say "$name"
	"$@" || {
		result=FAILED
		failed_steps+=("$name")
	}
	printf -- '-- %s: %s (%d s)\n' "$name" "$result" "$((SECONDS - began))"
}

check_gofmt() {
	local bad
	bad=$(gofmt -l bench cmd docs internal pkg scripts test)
	[ -z "$bad" ] || {
		printf 'not formatted, run gofmt -w on:\n%s\n' "$bad"
		return 1
	}
}

check_shell() { shellcheck scripts/*.sh examples/*.sh test/package/boot.sh packaging/{await-agents,command,recover} packaging/scripts/* .ci/run; }

# For every kind of box: without a library to miss there.
build_static() {
	local arch name linked
	for arch in amd64 arm64 arm; do
		scripts/build.sh --noopencv --arch "$arch" --output "$work/static/$arch" || return 1
		for name in cam-agent controller client; do
			linked=$(file -b "$work/static/$arch/$name") || return 1
			case $arch:$linked in
			amd64:*x86-64*'static-pie linked'* | arm64:*aarch64*'static-pie linked'* | arm:*ARM,*'statically linked'*) ;;
			*)
				printf '%s: expected a static binary for %s\n' "$linked" "$arch"
				return 1
				;;
			esac
		done
	done
}

# With the tests that the camera machine runs.
check_vet() { go vet ./... && go vet -tags device ./pkg/camera/v4l2; }

# Compiled on its own, so that the compiler does not disturb tests that measure
# times.
build_race() { go build -race ./...; }

# It takes minutes to build the first time.
build_linter() { build_tool "$linter" tools github.com/golangci/golangci-lint/v2/cmd/golangci-lint; }

# Prometheus and its checker, out of Debian's package: to install that would
# start a server where there is systemd.
fetch_prometheus() {
	local dir=$root/.cache/bin name
	if [ -x "$dir/promtool" ] && [ -x "$dir/prometheus" ]; then
		return 0
	fi
	if ! command -v apt-get >/dev/null || { command -v promtool && command -v prometheus; } >/dev/null; then
		return 0 # the tests use those in PATH, or say that there are none
	fi
	mkdir -p "$dir" "$work/prometheus"
	local options=()
	[ "$(id -u)" -ne 0 ] || options=(-o APT::Sandbox::User=root) # only we may enter $work
	(cd "$work/prometheus" && apt-get download -q "${options[@]}" prometheus) || return 1
	for name in promtool prometheus; do
		dpkg-deb --fsys-tarfile "$work/prometheus/"prometheus_*.deb | tar -xO "./usr/bin/$name" >"$dir/$name.new" &&
			chmod 755 "$dir/$name.new" &&
			mv "$dir/$name.new" "$dir/$name" || return 1
	done
}

# What judges whether everybody can use the pages, of the version in tools/axe.
fetch_axe() {
	local dir=$root/.cache/axe
	if [ ! -f "$dir/node_modules/axe-core/axe.min.js" ] || [ "$root/tools/axe/package-lock.json" -nt "$dir/package-lock.json" ]; then
		mkdir -p "$dir"
		cp "$root"/tools/axe/package*.json "$dir"
		npm ci --prefix "$dir" --ignore-scripts --no-audit --no-fund
	fi
}

run_linter() { "$linter" run ./...; }

# background NAME COMMAND...: run it beside the steps that follow, with what the
# machine has left. await shows what it printed.
declare -A background_pids=()
background() {
	local name=$1
	shift
	(
		renice -n 19 -p "$BASHPID" >/dev/null
		"$@"
	) >"$work/$name.log" 2>&1 &
	background_pids[$name]=$!
}

# await NAME: wait for a background command, and fail if it did.
await() {
	local result=0
	wait "${background_pids[$1]}" || result=$?
	unset "background_pids[$1]"
	[ "$result" -eq 0 ] || cat "$work/$1.log"
	return "$result"
}

# go_test ARGUMENT...: go test, counted.
go_test() {
	events=$((events + 1))
	"$gotestsum" --format pkgname --jsonfile "$work/events.$events.json" -- "$@"
}

# count ACTION: how many tests, subtests too, have ended so.
count() { cat "$work"/events.*.json 2>/dev/null | grep -c "\"Action\":\"$1\".*\"Test\":" || true; }

unit_tests() {
	# A few packages at a time: most tests wait, but many would starve each other.
	local packages flags=(-race -p 3 -timeout 10m)
	[ "$quick" = no ] || flags=(-short -p 3 -timeout 5m)
	mapfile -t packages < <(go list ./... | grep -v '^framekeeper/test/')
	go_test "${flags[@]}" "${packages[@]}"
}

# They run programs that Go does not know of, so results of earlier runs prove
# nothing.
program_tests() {
	local flags=(-count 1 -timeout 25m)
	[ "$quick" = no ] || flags+=(-short)
	go_test "${flags[@]}" "$@"
}

# Whole boxes, the package in a Debian of its own, cameras in machines of their
# own: they wait most of the time, or emulate one processor.
system_tests() { program_tests -p 2 -parallel 3 ./test/box ./test/camera ./test/package; }

# The fault tests measure times, so nothing else runs beside them.
fault_tests() { program_tests -p 1 ./test/faults/...; }

fuzz_targets() {
	local dir
	find bench cmd internal pkg scripts test -name '*_test.go' -exec grep -lZ '^func Fuzz' {} + |
		xargs -0 -r -n 1 dirname | sort -u |
		while read -r dir; do
			go test -list '^Fuzz' "./$dir" | sed -n "s|^Fuzz.*|./$dir &|p"
		done
}

fuzz() {
	local package target result=0
	fuzz_targets >"$work/targets" || return 1
	while read -r package target; do
		printf '%s %s for %s\n' "$package" "$target" "$fuzz_time"
		go_test -run "^$target\$" -fuzz "^$target\$" -fuzztime "$fuzz_time" "$package" </dev/null || result=1
	done <"$work/targets"
	return "$result"
}

need_go
linter=$root/.cache/bin/golangci-lint-$(go env GOVERSION)
gotestsum=$root/.cache/bin/gotestsum
browser=(chromium)
if grep -qsx 'ID=ubuntu' /etc/os-release; then
	browser=() # a snap there; the tests take google-chrome too
fi
npm=()
command -v npm >/dev/null || npm=(npm) # other packages of Node.js than Debian's bring it along
need_packages redis-server libopencv-dev libturbojpeg0-dev pkg-config gcc g++ libc6-dev ffmpeg shellcheck file ustreamer \
	gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly gstreamer1.0-tools \
	gir1.2-gst-rtsp-server-1.0 python3-gi \
	python3 python3-redis python3-opencv python3-numpy nodejs jq iproute2 nftables util-linux procps \
	qemu-system-x86 busybox-static kmod cpio v4l-utils debootstrap dpkg-dev e2fsprogs "${npm[@]}" "${browser[@]}"

build_tool "$gotestsum" tools/gotestsum gotest.tools/gotestsum
[ "$quick" = yes ] || background linter build_linter
step prometheus fetch_prometheus
step axe fetch_axe
step gofmt check_gofmt
step shellcheck check_shell
step build scripts/build.sh
step vet check_vet
if [ "$quick" = no ]; then
	step "linter build" await linter
	step "race build" build_race
fi
step tests unit_tests
if [ "$quick" = no ]; then
	background lint run_linter
	background static build_static
fi
step "system tests" system_tests
if [ "$quick" = no ]; then
	step lint await lint
	step "static builds" await static
	step vulnerabilities scripts/vulncheck.sh
	step fuzz fuzz
fi
step "fault tests" fault_tests

passed=$(count pass) failed=$(count fail) skipped=$(count skip)
say 'slowest tests'
cat "$work"/events.*.json 2>/dev/null | "$gotestsum" tool slowest --threshold 8s --num 25 || true
status=0
if [ "${CI:-}" = true ] && [ "$skipped" -gt 0 ]; then
	warn "in CI every test must run, and $skipped were skipped, see SKIP above"
	status=1
fi
if [ "${#failed_steps[@]}" -gt 0 ]; then
	printf 'failed: %s\n' "${failed_steps[@]}"
	[ "$failed" -gt 0 ] || failed=${#failed_steps[@]} # so that "0 failed" always means success
	status=1
fi
printf 'all of it took %d s\n' "$SECONDS"
printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
exit "$status"
