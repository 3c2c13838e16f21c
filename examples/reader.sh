#!/usr/bin/env bash
# Stores every frame of a camera's stream as ID.jpg, from the oldest that Redis has, and
# goes on when Redis was away. Needs bash, redis-cli and jq.
#
#   reader.sh CAMERA [OPTION OF redis-cli]...
set -u
camera=${1:?usage: reader.sh CAMERA [OPTION OF redis-cli]...}
shift
entry=$(mktemp)
trap 'rm -f "$entry"' EXIT
trap 'exit 130' INT # else only the program at hand would end
last=0
while true; do
	# Its lines: the key, the ID, "header", the header, "image", the image.
	timeout --foreground 15 redis-cli --raw "$@" XREAD COUNT 1 BLOCK 5000 STREAMS "frames:$camera" "$last" >"$entry"
	id=$(sed -n '2{p;q}' "$entry" | tr -cd '0-9-' | head -c 41)
	if ! [[ $id =~ ^[0-9]+-[0-9]+$ ]]; then # none came, or an error
		grep -am 1 . "$entry" | head -c 200 | tr -cd '[:print:]\n' >&2
		sleep 1
		continue
	fi
	last=$id
	bytes=$(sed -n '4{p;q}' "$entry" | jq 'select(.status == "ok") | .bytes' 2>/dev/null)
	[ "$(tail -n +6 "$entry" | head -c -1 | wc -c)" = "$bytes" ] || continue # no frame
	tail -n +6 "$entry" | head -c -1 >"$id.new" && mv "$id.new" "$id.jpg"
done
