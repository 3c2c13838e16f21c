#!/usr/bin/env bash
# Reports the known vulnerabilities that the programs reach, from the database at
# vuln.go.dev (or $GOVULNDB); without it, that it was skipped.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

need_go
cd "$root"
if [ -z "${GOVULNDB:-}" ] && ! answers vuln.go.dev 443; then
	printf 'skipped: database not reachable\n'
	exit 0
fi
govulncheck=$root/.cache/bin/govulncheck-$(go env GOVERSION)
build_tool "$govulncheck" tools/govulncheck golang.org/x/vuln/cmd/govulncheck
"$govulncheck" ${GOVULNDB:+-db "$GOVULNDB"} -tags noopencv ./cmd/...
