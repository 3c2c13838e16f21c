#!/usr/bin/env bash
# Builds bin/cam-agent, bin/controller and bin/client.
#
#   build.sh                            cam-agent with OpenCV (sources opencv:, file:, rtsp:, gst:)
#   build.sh --noopencv                 a static cam-agent without it
#   build.sh --noopencv --arch arm64    all three for another machine, in bin/arm64 (or amd64, arm)
#   --output DIR                        into DIR instead
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

opencv=yes arch='' out=''
while [ $# -gt 0 ]; do
	case $1 in
	--noopencv) opencv=no ;;
	--arch)
		case ${2:-} in
		amd64 | arm64 | arm) arch=$2 ;;
		*) die "--arch ${2:-} is none of amd64, arm64, arm" ;;
		esac
		shift
		;;
	--output)
		[ $# -ge 2 ] || die '--output needs a directory'
		out=$(realpath -m -- "$2")
		shift
		;;
	*) die "unknown argument $1; usage: build.sh [--noopencv [--arch amd64|arm64|arm]] [--output DIR]" ;;
	esac
	shift
done
[ -z "$arch" ] || [ "$opencv" = no ] || die "--arch goes with --noopencv: OpenCV must be built on the machine itself"

# cross COMPILER DEBIAN: link for another machine.
cross() {
	need_packages "gcc-$1" "libc6-dev-$2-cross"
	export CC=${1/x86-/x86_}-gcc
}

[ -n "$out" ] || out=bin${arch:+/$arch}

need_go
cd "$root"
host=$(go env GOHOSTARCH)
case ${arch:=$(go env GOARCH)} in
arm) ;;
"$host") need_packages gcc libc6-dev ;;
amd64) cross x86-64-linux-gnu amd64 ;;
arm64) cross aarch64-linux-gnu arm64 ;;
esac
if [ "$opencv" = yes ]; then
	need_packages g++ pkg-config libopencv-dev libturbojpeg0-dev
fi

version=$(git -C "$root" describe --tags --always --dirty 2>/dev/null || true)

# build PROGRAM LDFLAGS ARGUMENT...: with arguments of go build.
build() { go build -o "$out/$1" -ldflags "-X framekeeper/internal/cli.stamped=$version $2" "${@:3}" "./cmd/$1"; }

# build_pie PROGRAM HOW ARGUMENT...: position-independent, and with tables that
# are read-only when it runs (full RELRO). HOW is a flag for the C compiler.
build_pie() { CGO_ENABLED=1 build "$1" "-linkmode external -extldflags '$2 -Wl,-z,relro,-z,now'" -buildmode=pie "${@:3}"; }

# build_static PROGRAM: without a library to miss. Debian's libc for arm cannot be
# in a position-independent program.
build_static() {
	if [ "$arch" = arm ]; then
		CGO_ENABLED=0 build "$1" '' -tags noopencv
	else
		build_pie "$1" -static-pie -tags noopencv,netgo,osusergo
	fi
}

export GOARCH=$arch GOARM=7 # GOARM: the Raspberry Pi 2 and later, for arm only
mkdir -p "$out"
say "building controller and client"
build_static controller
build_static client
if [ "$opencv" = yes ]; then
	say "building cam-agent with OpenCV (the first time takes minutes)"
	build_pie cam-agent -pie
else
	say "building cam-agent without OpenCV"
	build_static cam-agent
fi
