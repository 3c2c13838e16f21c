#!/usr/bin/env bash
# Shows the controller, its agents and the link to Redis. Exits with 0 if
# everything is healthy.
#
#   status.sh [CONFIG]    (default: config.toml of the repository)
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

use_config "${1:-$root/config.toml}"
need_binaries controller
if ! state=$(state_path); then
	if pid=$(runs_with); then
		warn "the controller, pid $pid, was started with it before and goes on; correct the file to see more"
	fi
	exit 1
fi
if ! pid=$(holder "$state"); then
	say "no controller is running with $config, nor with state_dir $state"
	exit 1
fi
say "controller pid $pid and its agents:"
ps -o pid,etime,pcpu,rss,args -p "$pid" --ppid "$pid"
if [ -z "$(setting controller.http)" ]; then
	warn '[controller] http is "", so that the controller cannot be asked about Redis'
	exit 0
fi
"$root/bin/controller" --config "$config" --status
