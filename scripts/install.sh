#!/usr/bin/env bash
# Builds the Debian package and installs it, or its new version, on this box.
# Nothing is started on the first installation, what runs is restarted on later
# ones, and /etc/framekeeper/config.toml is kept as it is.
#
#   install.sh [--opencv | --static]    see package.sh
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

case ${1:-} in
'' | --opencv | --static) ;;
*) die "unknown argument $1; usage: install.sh [--opencv | --static]" ;;
esac
command -v apt-get >/dev/null || die 'no apt-get here: the package is for Debian and its like; scripts/build.sh builds the programs alone'

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work" # apt's own user reads the package
"$root/scripts/package.sh" "$@" --output "$work"
say 'installing it'
# An edited configuration is kept without asking, for nobody may be there.
as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=120 \
	-o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold \
	install --no-install-recommends --allow-downgrades "$work"/*.deb
