#!/usr/bin/env bash
# Builds bin/cam-agent, bin/controller and bin/client.
#
#   build.sh               cam-agent with OpenCV (sources opencv:, file:, rtsp:, gst:)
#   build.sh --noopencv    a static cam-agent without it
#   --output DIR           into DIR and not into bin
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

opencv=yes bin=$root/bin
while [ $# -gt 0 ]; do
	case $1 in
	--noopencv) opencv=no ;;
	--output)
		[ $# -ge 2 ] || die '--output needs a directory'
		bin=$(realpath -m -- "$2")
		shift
		;;
	*) die "unknown argument $1; usage: build.sh [--noopencv] [--output DIR]" ;;
	esac
	shift
done

need_go
cd "$root"
if [ "$opencv" = yes ]; then
	need_packages gcc g++ libc6-dev pkg-config libopencv-dev
fi

version=$(git -C "$root" describe --tags --always --dirty 2>/dev/null || true)
build() { go build -ldflags "-X framekeeper/internal/version.stamped=$version" "$@"; }

mkdir -p "$bin"
say "building controller and client"
CGO_ENABLED=0 build -o "$bin/controller" ./cmd/controller
CGO_ENABLED=0 build -o "$bin/client" ./cmd/client
if [ "$opencv" = yes ]; then
	say "building cam-agent with OpenCV (the first time takes minutes)"
	CGO_ENABLED=1 build -o "$bin/cam-agent" ./cmd/cam-agent
else
	say "building cam-agent without OpenCV"
	CGO_ENABLED=0 build -tags noopencv -o "$bin/cam-agent" ./cmd/cam-agent
fi
