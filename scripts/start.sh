#!/usr/bin/env bash
# Starts the controller, and with it the agents, in the background.
#
#   start.sh [CONFIG]    (default: config.toml of the repository)
#
# Log: <state_dir>/controller.log; stop with stop.sh, look with status.sh.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

use_config "${1:-$root/config.toml}"
need_binaries controller cam-agent
state=$(setting state_dir)
mkdir -p "$state"
if pid=$(holder "$state"); then
	say "the controller is running already, pid $pid"
	exit 0
fi

log=$state/controller.log
if [ -f "$log" ] && [ "$(stat -c %s "$log")" -gt $((16 << 20)) ]; then
	mv -f "$log" "$log.1"
fi
setsid nohup "$root/bin/controller" --config "$config" >>"$log" 2>&1 </dev/null &
child=$!

for ((i = 0; i < 100; i++)); do
	if pid=$(holder "$state") && [ "$pid" = "$child" ]; then
		say "controller started, pid $pid, log $log"
		exit 0
	fi
	kill -0 "$child" 2>/dev/null || break
	sleep 0.1
done
tail -n 5 "$log" >&2
die "the controller did not start, see above and $log"
