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

[ -n "$out" ] || out=bin${arch:+/$arch}

need_go
cd "$root"
if [ "$opencv" = yes ]; then
	need_packages gcc g++ libc6-dev pkg-config libopencv-dev libturbojpeg0-dev
fi

version=$(git -C "$root" describe --tags --always --dirty 2>/dev/null || true)
build() { go build -ldflags "-X framekeeper/internal/cli.stamped=$version" "$@"; }

if [ -n "$arch" ]; then
	export GOARCH=$arch GOARM=7 # GOARM: the Raspberry Pi 2 and later, for arm only
fi

mkdir -p "$out"
say "building controller and client"
CGO_ENABLED=0 build -o "$out/controller" ./cmd/controller
CGO_ENABLED=0 build -o "$out/client" ./cmd/client
if [ "$opencv" = yes ]; then
	say "building cam-agent with OpenCV (the first time takes minutes)"
	CGO_ENABLED=1 build -o "$out/cam-agent" ./cmd/cam-agent
else
	say "building cam-agent without OpenCV"
	CGO_ENABLED=0 build -tags noopencv -o "$out/cam-agent" ./cmd/cam-agent
fi
