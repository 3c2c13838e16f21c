#!/usr/bin/env bash
# Stops the controller that start.sh started, and with it the agents.
#
#   stop.sh [CONFIG]    (default: config.toml of the repository)
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

use_config "${1:-$root/config.toml}"
need_binaries controller
if ! state=$(state_path); then
	pid=$(runs_with) || die "no controller that was started with $config is running; if there is another, correct the file first"
elif ! pid=$(holder "$state"); then
	say "no controller is running with $config, nor with state_dir $state"
	exit 0
fi
kill -TERM "$pid" || die "cannot signal the controller, pid $pid: it belongs to somebody else, try sudo"
if ended "$pid" 8; then
	say "controller stopped"
	exit 0
fi
warn "the controller, pid $pid, did not end within 8 s: killing it; its agents end by themselves"
kill -KILL "$pid" 2>/dev/null || true
ended "$pid" 5 || die "the controller, pid $pid, cannot be killed"
