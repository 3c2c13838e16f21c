#!/usr/bin/env bash
# The main job, from nothing: installs what is missing, builds, and runs Redis
# (unless one answers already), the controller with its agents, and the client.
# Ctrl-C ends it all; DEMO_SECONDS=n ends it after n seconds with a summary.
# Everything it writes is under .cache/demo. Fails if no frame came.
#
#   demo.sh [CONFIG]    (default: config.toml of the repository)
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

seconds=${DEMO_SECONDS:-0}
case $seconds in *[!0-9]*) die "DEMO_SECONDS=$seconds: expected a whole number of seconds" ;; esac
home=$root/.cache/demo
redis_pid='' controller_pid='' client_pid=''

# finish PID SECONDS: end a process of ours, by force if need be.
finish() {
	[ -n "$1" ] || return 0
	kill -TERM "$1" 2>/dev/null || return 0
	ended "$1" "$2" || kill -KILL "$1" 2>/dev/null || true
}

# The three run in sessions of their own, so that a Ctrl-C reaches only this
# script, which then ends them in order.
cleanup() {
	trap '' INT TERM HUP
	finish "$client_pid" 6
	finish "$controller_pid" 8
	finish "$redis_pid" 5
}

interrupt() {
	[ -n "$client_pid" ] || exit 130
	kill -TERM "$client_pid" 2>/dev/null || true
}

# own_redis DIRECTIVE...: a redis-server of our own that keeps nothing. It reads
# its configuration from standard input: ps would show arguments.
own_redis() {
	local password_file
	[ -z "$(setting redis.username)" ] || die "redis.username is set and no Redis answers at $url: start yours first"
	password_file=$(setting redis.password_file)
	setsid redis-server - >"$home/redis.log" 2>&1 < <(
		printf '%s\n' "$@" 'save ""' 'appendonly no' "dir $home"
		[ -z "$password_file" ] || printf 'requirepass "%s"\n' "$(cat "$password_file")"
	) &
	redis_pid=$!
}

# await_redis COMMAND...: until it succeeds, Redis is not there yet.
await_redis() {
	local i
	for ((i = 0; i < 100; i++)); do
		! "$@" || return 0
		kill -0 "$redis_pid" 2>/dev/null || break
		sleep 0.1
	done
	tail -n 5 "$home/redis.log" >&2
	die "redis-server did not start at $url, see above"
}

# ensure_redis: use the Redis that answers at the configured address, which is
# never touched, or run one there.
ensure_redis() {
	url=$(setting redis.url)
	if [ -n "$(setting redis.sentinel_master)" ]; then
		say "using the Redis that the Sentinels name"
		return
	fi
	local rest=${url#*://} host port
	if [ "${url%%://*}" = unix ]; then
		if [ ! -S "$rest" ]; then
			say "starting a redis-server of our own at $url"
			own_redis "unixsocket $rest" 'port 0'
			await_redis test -S "$rest"
		fi
		return
	fi
	rest=${rest%%/*}
	host=${rest%:*} port=${rest##*:}
	if [ "$host" = "$rest" ] || [ "${rest: -1}" = ']' ]; then
		host=$rest port=6379
	fi
	host=${host#[} host=${host%]}
	if answers "$host" "$port"; then
		say "using the Redis that answers at $url"
		return
	fi
	case ${url%%://*} in redis) ;; *) die "no Redis answers at $url, and the demo starts none with TLS: start yours first" ;; esac
	case $host in
	localhost | 127.* | ::1) ;;
	*) die "no Redis answers at $url, and the demo starts one on this machine only: start yours, or set redis.url to redis://127.0.0.1:6379/0" ;;
	esac
	say "starting a redis-server of our own at $url"
	[ "$host" != localhost ] || host='127.0.0.1'
	own_redis "bind $host" "port $port"
	await_redis answers "$host" "$port"
}

# ensure_http: another port for the status page when the configured one is
# taken.
ensure_http() {
	local http host port
	http=$(setting controller.http)
	[ -n "$http" ] || return 0
	host=${http%:*} port=${http##*:}
	host=${host#[} host=${host%]}
	if answers "${host:-127.0.0.1}" "$port"; then
		for ((port = 8081; port < 8181; port++)); do
			answers 127.0.0.1 "$port" || break
		done
		say "$http is taken, the status page is at 127.0.0.1:$port this time"
		export FRAMEKEEPER_CONTROLLER_HTTP=127.0.0.1:$port
	fi
	say "status page: http://$(setting controller.http)/"
}

start_controller() {
	setsid "$root/bin/controller" --config "$config" >"$home/controller.log" 2>&1 &
	controller_pid=$!
	[ -n "$(setting controller.http)" ] || return 0
	local i
	for ((i = 0; i < 150; i++)); do
		! "$root/bin/controller" --config "$config" --status >"$home/status" 2>&1 || return 0
		kill -0 "$controller_pid" 2>/dev/null || break
		sleep 0.2
	done
	cat "$home/status" >&2
	tail -n 15 "$home/controller.log" >&2
	die "the controller or an agent does not run as it should, see above and $home/controller.log"
}

# await_agents: for its figures the demo counts from where every agent has said
# that it is there and well. If one never does, the client will show it.
await_agents() {
	local i
	for ((i = 0; i < 50; i++)); do
		if "$root/bin/client" --config "$config" status >"$home/status" 2>&1; then
			return 0
		fi
		sleep 0.2
	done
}

run_client() {
	local args=(--config "$config" run) status=0
	[ "$seconds" -eq 0 ] || args+=(--duration "${seconds}s")
	setsid "$root/bin/client" "${args[@]}" &
	client_pid=$!
	# A trapped signal interrupts wait, not the client.
	while :; do
		status=0
		wait "$client_pid" || status=$?
		kill -0 "$client_pid" 2>/dev/null || break
	done
	return "$status"
}

mkdir -p "$home"
exec 9>"$home/lock"
flock --nonblock 9 || die "another demo is running, or left processes behind"
trap cleanup EXIT
trap interrupt INT TERM HUP

need_packages redis-server util-linux
"$root/scripts/build.sh"
use_config "${1:-$root/config.toml}"
rm -rf "$home/state" "$home/images"
mkdir -p "$home/state" "$home/images"
export FRAMEKEEPER_STATE_DIR=$home/state FRAMEKEEPER_DELIVERY_SPOOL_DIR=$home/state/spool
export FRAMEKEEPER_CLIENT_IMAGES_DIR=$home/images

ensure_redis
ensure_http
start_controller
await_agents
say "images: $home/images   log: $home/controller.log   end: Ctrl-C"
status=0
run_client || status=$?
client_pid=''
[ "$status" -eq 0 ] || die "the client failed, see above"
frames=$(find "$home/images" -type f -name '*_*-*.*' | wc -l)
[ "$frames" -gt 0 ] || die "no frame came: see $home/controller.log"
say "$frames images stored in $home/images"
