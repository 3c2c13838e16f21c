# shellcheck shell=bash
# What the scripts share. Sourced, never run. Sets root, the repository.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '== %s\n' "$*"; }
warn() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; }
die() {
	warn "$*"
	exit 1
}

# as_root COMMAND...: run it with the rights of root.
as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	else
		sudo "$@"
	fi
}

# missing_packages NAME...: print those that are not installed.
missing_packages() {
	local name
	for name in "$@"; do
		dpkg-query -W -f='${Status}\n' "$name" 2>/dev/null | grep -q '^install ok installed$' || printf '%s\n' "$name"
	done
}

# install_packages NAME...: apt-get, with fresh lists only when the ones there
# are not enough.
install_packages() {
	local get=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120)
	local install=("${get[@]}" install -y --no-install-recommends "$@")
	if as_root "${install[@]}" >/dev/null 2>&1; then
		return
	fi
	as_root "${get[@]}" update || warn "apt-get update failed, going on with the package lists there are"
	as_root "${install[@]}" >/dev/null
}

# need_packages NAME...: install the Debian packages that are missing.
need_packages() {
	if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
		warn "no apt-get here; these Debian packages, or your system's like them, must be there: $*"
		return
	fi
	local missing
	mapfile -t missing < <(missing_packages "$@")
	if [ "${#missing[@]}" -eq 0 ]; then
		return
	fi
	if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
		die "these packages are missing: ${missing[*]}. Neither root nor sudo: ask somebody who is to run: apt-get install --no-install-recommends ${missing[*]}"
	fi
	say "installing ${missing[*]}"
	install_packages "${missing[@]}" || die "cannot install ${missing[*]}: see the messages of apt-get above"
}

# need_go: put Go into PATH.
need_go() {
	if ! command -v go >/dev/null && [ -x /usr/local/go/bin/go ]; then
		PATH=$PATH:/usr/local/go/bin
	fi
	command -v go >/dev/null || die "Go is not in PATH: install Go 1.26 or newer from https://go.dev/dl/"
}

# build_tool FILE DIR PACKAGE: a program whose version is pinned in the module in
# DIR, of its own so that its many dependencies do not become ours.
build_tool() {
	if [ ! -x "$1" ] || [ "$root/$2/go.sum" -nt "$1" ]; then
		mkdir -p "${1%/*}"
		GOOS='' GOARCH='' nice -n 19 go -C "$root/$2" build -o "$1.new" "$3"
		mv "$1.new" "$1"
	fi
}

# answers HOST PORT: does anything accept connections there?
# shellcheck disable=SC2016  # the inner shell expands
answers() { timeout 2 bash -c 'exec 3<>"/dev/tcp/$1/$2"' _ "$1" "$2" 2>/dev/null; }

# use_config FILE: the configuration setting is about. Relative paths in it
# begin where the file is.
use_config() {
	config=$(realpath -- "$1")
	[ -r "$config" ] || die "cannot read $config"
	cd "$(dirname "$config")" || die "cannot enter the directory of $config"
}

# setting KEY: one value of the configuration, as the programs see it.
setting() { "$root/bin/controller" --config "$config" --get "$1"; }

# state_path: the absolute path of state_dir, whether it is there or not. Fails,
# and the programs have said why, if the configuration is wrong.
state_path() {
	local dir
	dir=$(setting state_dir) && realpath -m -- "$dir"
}

# runtime_log STATE: a log for a controller whose state_dir cannot be written, in
# the first directory that can. The name follows from STATE.
runtime_log() {
	local dir name
	name=framekeeper-$(id -u)
	for dir in "${XDG_RUNTIME_DIR:-}" /run "${TMPDIR:-/tmp}"; do
		[ -w "$dir" ] || continue
		dir=$(realpath -- "$dir")/$name
		mkdir -m 700 "$dir" 2>/dev/null || true
		# In a directory that all may write, somebody else may have made it.
		if [ -d "$dir" ] && [ ! -L "$dir" ] && [ -O "$dir" ] && [ -w "$dir" ]; then
			printf '%s/controller-%s.log\n' "$dir" "$(printf %s "$1" | cksum | cut -d ' ' -f 1)"
			return 0
		fi
	done
	return 1
}

# need_binaries NAME...: refuse to go on without them.
need_binaries() {
	local name
	for name in "$@"; do
		[ -x "$root/bin/$name" ] || die "bin/$name is missing: build it with scripts/build.sh"
	done
}

# locked_by DIR: the pid of the controller that holds DIR's lock; fails if none
# does. A pid alone is no proof, it may be anybody's by now: the lock must be
# held, and the process must be a controller, of the user whose file the lock is.
locked_by() {
	local lock=$1/controller.lock pid
	[ -f "$lock" ] && [ ! -L "$lock" ] && [ -r "$lock" ] && ! flock --nonblock --shared "$lock" true 2>/dev/null || return 1
	pid=$(head -n 1 "$lock")
	is_controller "$pid" && [ "$(owner "$lock")" = "$(owner "/proc/$pid")" ] || return 1
	printf '%s\n' "$pid"
}

# owner PATH: the user that a file or a process belongs to.
owner() { stat -c %U -- "$1"; }

# holder DIR: the same, or that of a controller which runs with this
# configuration without the lock: DIR could not be written, was deleted, or is
# another in the file since.
holder() { locked_by "$1" || runs_with; }

# runs_with: the pid of a controller that was started with this configuration
# and goes on. One with a state_dir of its own from a variable, as demo.sh gives
# it, is another; so is one that only answers a question.
runs_with() {
	local dir
	for dir in /proc/[0-9]*; do
		if is_controller "${dir##*/}" && has_line "$dir/cmdline" -xF -- "$config" &&
			! has_line "$dir/cmdline" -xE -- 'acl|--?(check|status|get|version|help|h)(=.*)?' &&
			[ "$(state_variable "$dir/environ")" = "${FRAMEKEEPER_STATE_DIR:-}" ]; then
			printf '%s\n' "${dir##*/}"
			return 0
		fi
	done
	return 1
}

# has_line FILE ARGUMENT...: does grep find it between the NULs of a file in /proc?
has_line() { tr '\0' '\n' 2>/dev/null <"$1" | grep -q "${@:2}"; }

# state_variable FILE: what a process's environment sets state_dir to.
state_variable() { tr '\0' '\n' 2>/dev/null <"$1" | sed -n 's/^FRAMEKEEPER_STATE_DIR=//p'; }

# is_controller PID: is that a process of our program?
is_controller() {
	local pid=$1 exe
	case $pid in '' | *[!0-9]*) return 1 ;; esac
	exe=$(readlink "/proc/$pid/exe" 2>/dev/null) || exe=$(head -n 1 "/proc/$pid/comm" 2>/dev/null) || return 1
	exe=${exe% (deleted)} # rebuilt since it was started
	[ "${exe##*/}" = controller ]
}

# ended PID SECONDS: wait until the process has ended; fails if it does not.
ended() {
	local tries=$(($2 * 10))
	while kill -0 "$1" 2>/dev/null; do
		[ "$((tries--))" -gt 0 ] || return 1
		sleep 0.1
	done
}
