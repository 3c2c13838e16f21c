#!/usr/bin/env bash
# Makes the Debian package, and says where it is.
#
#   package.sh             with OpenCV if libopencv-dev is there, else without
#   package.sh --opencv    with OpenCV; installs what that needs
#   package.sh --static    without OpenCV; needs no library
#
#   --arch A               with --static, for another machine: amd64, arm64, arm
#   --version V            default: from git
#   --output DIR           default: bin
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage='usage: package.sh [--opencv | --static [--arch amd64|arm64|arm]] [--version V] [--output DIR]'
flavour='' arch='' version='' output=$root/bin
while [ $# -gt 0 ]; do
	case $1 in
	--opencv | --static) flavour=${1#--} ;;
	--arch | --version | --output)
		[ $# -ge 2 ] || die "$1 needs a value; $usage"
		case $1 in
		--arch) arch=$2 ;;
		--version) version=$2 ;;
		--output) output=$(realpath -m -- "$2") ;;
		esac
		shift
		;;
	*) die "unknown argument $1; $usage" ;;
	esac
	shift
done

work=$root/.cache/package

# git_version: as Debian writes it. Without a tag, commits sort by their time.
git_version() {
	local tag
	if tag=$(git -C "$root" describe --tags --match 'v[0-9]*' 2>/dev/null); then
		printf '%s\n' "${tag#v}" | tr - +
	else
		git -C "$root" log -1 --date=format:%Y%m%d%H%M%S --format='0~git%cd.%h'
	fi
}

# architecture: the machine's name in Debian.
architecture() {
	case ${arch:-$(go env GOARCH)} in
	arm) echo armhf ;;
	386) echo i386 ;;
	*) echo "${arch:-$(go env GOARCH)}" ;;
	esac
}

# library_packages PROGRAM: the packages whose libraries it is linked with.
library_packages() {
	local dir found
	dir=$(mktemp -d)
	mkdir "$dir/debian"
	printf 'Source: framekeeper\n\nPackage: framekeeper\nArchitecture: any\n' >"$dir/debian/control"
	found=$(cd "$dir" && dpkg-shlibdeps -O -e "$1" 2>"$dir/messages") || {
		cat "$dir/messages" >&2
		die "cannot tell which libraries $1 needs"
	}
	rm -rf "$dir"
	printf '%s\n' "${found#shlibs:Depends=}"
}

# set_line FILE OLD NEW: in a configuration of the package, where OLD must stand
# once.
set_line() {
	[ "$(grep -cxF -- "$2" "$1")" -eq 1 ] || die "$(basename "$1") must have this line once: $2"
	old=$2 new=$3 awk '{ print $0 == ENVIRON["old"] ? ENVIRON["new"] : $0 }' "$1" >"$work/config.new"
	mv "$work/config.new" "$1"
}

# write_configs: the repository's, with the service's directories. The full one
# shows them as settings too, so that it can take the other's place.
write_configs() {
	local name shown=''
	for name in config.toml config.full.toml; do
		cp "$root/$name" "$work/$name"
		set_line "$work/$name" "${shown}state_dir = \"./state\"" 'state_dir = "/var/lib/framekeeper/state"'
		set_line "$work/$name" "${shown}spool_dir = \"./state/spool\"" 'spool_dir = "/var/lib/framekeeper/spool"'
		set_line "$work/$name" "${shown}images_dir = \"./images\"" 'images_dir = "/var/lib/framekeeper/images"'
		shown='# '
	done
}

need_go
cd "$root"
if [ -z "$flavour" ]; then
	flavour=static
	[ -n "$(missing_packages libopencv-dev)" ] || flavour=opencv
fi
[ -z "$arch" ] || [ "$flavour" = static ] || die '--arch goes with --static: OpenCV must be built on the machine itself'
[ -n "$version" ] || version=$(git_version) || die 'no version: this is no git repository, name one with --version'
dpkg --validate-version "$version" || die "the version $version is none in Debian"

mkdir -p "$work" "$output"
exec 9>"$work/lock"
flock 9 # one at a time: the files nfpm reads have fixed names
depends=adduser
if [ "$flavour" = opencv ]; then
	need_packages dpkg-dev
	scripts/build.sh --output "$work/bin"
	depends+=", $(library_packages "$work/bin/cam-agent")"
else
	scripts/build.sh --noopencv ${arch:+--arch "$arch"} --output "$work/bin"
fi
write_configs
nfpm=$root/.cache/bin/nfpm-$(go env GOVERSION)
build_tool "$nfpm" tools/nfpm github.com/goreleaser/nfpm/v2/cmd/nfpm
file=$output/framekeeper_${version}_$(architecture).deb
PACKAGE_VERSION=$version PACKAGE_ARCH=$(architecture) PACKAGE_DEPENDS=$depends \
	"$nfpm" package --config packaging/nfpm.yaml --packager deb --target "$file" >"$work/nfpm.log" 2>&1 || {
	cat "$work/nfpm.log" >&2
	die 'nfpm failed, see above'
}
say "$flavour package: $file"
