#!/usr/bin/env bash
# Starts the controller, and with it the agents, in the background.
#
#   start.sh [CONFIG]    (default: config.toml of the repository)
#
# Log: <state_dir>/controller.log, or a place in memory if that cannot be
# written; stop with stop.sh, look with status.sh.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

use_config "${1:-$root/config.toml}"
need_binaries controller cam-agent
state=$(state_path) || exit 1
if pid=$(holder "$state"); then
	say "the controller is running already, pid $pid"
	exit 0
fi

if [ "$(id -u)" -eq 0 ] && [ -d "$state" ] && [ "$(owner "$state/.")" != root ]; then
	die "state_dir $state belongs to $(owner "$state/."), who could put links there for root to follow: run this as that user"
fi
mkdir -p "$state" 2>/dev/null || true # read-only: the programs can live with that
log=$state/controller.log lock=yes
if [ ! -d "$state" ] || [ ! -w "$state" ]; then
	log=$(runtime_log "$state") || die "neither state_dir $state nor any of \$XDG_RUNTIME_DIR, /run and \$TMPDIR can be written: no place for the log"
	lock=no
	warn "state_dir $state cannot be written: the log is $log, and nothing is remembered"
fi
if [ -f "$log" ] && [ "$(stat -c %s "$log")" -gt $((16 << 20)) ]; then
	mv -f "$log" "$log.1"
fi
setsid nohup "$root/bin/controller" --config "$config" >>"$log" 2>&1 </dev/null &
child=$!
# There is no lock to see in this case: what can be wrong shows at once.
if [ "$lock" = no ] && ! ended "$child" 2; then
	say "controller started, pid $child, log $log"
	exit 0
fi

for ((i = 0; i < 100; i++)); do
	if pid=$(locked_by "$state") && [ "$pid" = "$child" ]; then
		say "controller started, pid $pid, log $log"
		exit 0
	fi
	kill -0 "$child" 2>/dev/null || break
	sleep 0.1
done
tail -n 5 "$log" >&2
die "the controller did not start, see above and $log"
