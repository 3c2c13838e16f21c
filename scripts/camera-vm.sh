#!/usr/bin/env bash
# Runs a command on this machine's own files, under a kernel that has a camera:
# Debian's kernel boots in QEMU, without KVM, and loads vivid as /dev/video0.
#
#   camera-vm.sh [--loopback] [--memory MB] [--modules 'NAME OPTIONS']
#                [--output DIR] [--disk FILE] [--clock TIME] [--timeout SECONDS]
#                -- COMMAND...
#
#   --loopback   load v4l2loopback too, as /dev/video9 (the first time builds it)
#   --modules    load this in place of vivid; may be repeated; '' loads nothing.
#                modprobe and rmmod work inside, for vivid and v4l2loopback
#   --output     what the command writes below DIR stays; the rest is RAM and goes
#   --disk       a disk that outlives the machine, /disk inside: an ext4 image,
#                made if there is none; what was written to it stays
#   --clock      the first time on its clock, such as 1970-01-01T00:00:00 (UTC)
#   --timeout    end it all after so many seconds (default 600)
#
# COMMAND is root there, in this working directory. It sees all files of this
# machine as they are, /tmp among them, with /dev, /proc and /sys of its own and
# no network but loopback. PATH, HOME, CI, LANG, TERM and all GO… and FRAMEKEEPER_…
# go with it; its standard input is empty. Its output and exit status come
# back; 124 means the timeout, 125 that the machine itself failed. SIGUSR1 cuts
# the power: QEMU is killed, what the machine had not written to its disk is lost,
# and the exit status is 137.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
scripts=$root/scripts
# shellcheck source=camera-vm-kernel.sh
. "$scripts/camera-vm-kernel.sh"

# In place of lib.sh's: no status that the command's own could be taken for.
die() {
	warn "$*"
	exit 125
}

usage="usage: camera-vm.sh [--loopback] [--memory MB] [--modules 'NAME OPTIONS'] [--output DIR] [--disk FILE] [--clock TIME] [--timeout SECONDS] -- COMMAND..."
loopback=no memory=2048 output='' disk='' clock='' limit=600
modules=('vivid n_devs=1 node_types=0x1 num_inputs=1 input_types=0') chosen=no
while [ $# -gt 0 ]; do
	case $1 in
	--loopback) loopback=yes ;;
	--memory | --modules | --output | --disk | --clock | --timeout)
		[ $# -ge 2 ] || die "$1 needs a value; $usage"
		case $1 in
		--memory) memory=$2 ;;
		--output) output=$(realpath -e -- "$2") || die "no directory $2" ;;
		--disk) disk=$(realpath -- "$2") || die "no directory for $2" ;;
		--clock) clock=$2 ;;
		--timeout) limit=$2 ;;
		--modules)
			[ "$chosen" = yes ] || modules=()
			chosen=yes
			[ -z "$2" ] || modules+=("$2")
			;;
		esac
		shift
		;;
	--)
		shift
		break
		;;
	*) die "unknown argument $1; $usage" ;;
	esac
	shift
done
[ $# -gt 0 ] || die "no command; $usage"
for number in "$memory" "$limit"; do
	[[ $number =~ ^[1-9][0-9]*$ ]] || die "expected a number of megabytes or seconds, got $number; $usage"
done

[[ $clock =~ ^([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})?$ ]] || die "expected a time such as 1970-01-01T00:00:00, got $clock; $usage"

# What the command prints must be its own, so all of ours goes to stderr.
need_packages qemu-system-x86 busybox-static kmod cpio v4l-utils util-linux >&2
prepare_kernel >&2 # sets kernel and initramfs
if [ "$loopback" = yes ]; then
	prepare_loopback >&2 # sets another initramfs
	modules+=('v4l2loopback video_nr=9 card_label=loopback exclusive_caps=0')
fi

[ -z "$disk" ] || prepare_disk "$disk" >&2

# A name without spaces: the kernel's command line carries it.
work=$(mktemp -d /tmp/camera-vm.XXXXXX)
machine='' copiers=() cut=no
# shellcheck disable=SC2317  # the trap calls it
finish() {
	[ -z "$machine" ] || kill "$machine" 2>/dev/null || true
	[ "${#copiers[@]}" -eq 0 ] || kill "${copiers[@]}" 2>/dev/null || true
	wait
	rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
# shellcheck disable=SC2317
cut_power() {
	cut=yes
	kill -KILL "$(cat "$work/pid" 2>/dev/null)" 2>/dev/null || [ -z "$machine" ] || kill -KILL "$machine" || true
}
trap cut_power USR1

# The first lines of the guest's life, read by camera-vm-init.sh.
printf '%s\n' "${modules[@]}" >"$work/modules"
printf '%s\n' "$output" >"$work/output"
printf '%s\n' "${disk:+/dev/vda}" >"$work/disk"
{
	while IFS= read -r name; do
		printf 'export %s=%q\n' "$name" "${!name}"
	done < <(compgen -e | grep -E '^(PATH|HOME|CI|LANG|TERM|GO[A-Z]*|FRAMEKEEPER_[A-Z0-9_]*)$')
	printf 'cd %q || exit 125\n' "$PWD"
	printf '%q ' "$@"
	printf '\n'
} >"$work/command"

for name in stdout stderr status; do
	: >"$work/$name"
done
shares=(-fsdev "local,id=root,path=/,security_model=none,readonly=on,multidevs=remap"
	-device "virtio-9p-pci,fsdev=root,mount_tag=root")
if [ -n "$output" ]; then
	shares+=(-fsdev "local,id=output,path=${output//,/,,},security_model=none,multidevs=remap"
		-device "virtio-9p-pci,fsdev=output,mount_tag=output")
fi
devices=()
# Its cache is this machine's, which no end of QEMU empties.
[ -z "$disk" ] || devices+=(-drive "file=${disk//,/,,},format=raw,if=virtio,cache=unsafe")
[ -z "$clock" ] || devices+=(-rtc "base=$clock")
# Each stream is a port of its own, without the kernel's messages and without a
# terminal between. Files, because a port that ends in a pipe may still hold
# something when the machine is switched off.
ports=(-device virtio-serial-pci)
for name in stdout stderr status; do
	ports+=(-chardev "file,id=$name,path=$work/$name" -device "virtserialport,chardev=$name,name=$name")
done

# QEMU ends with this script, even if that is killed.
setpriv --pdeathsig TERM timeout --kill-after=5 "$limit" \
	setpriv --pdeathsig KILL qemu-system-x86_64 \
	-nodefaults -no-user-config -no-reboot -display none -monitor none -machine pc,usb=off,vmport=off -pidfile "$work/pid" \
	-accel tcg,thread=multi -cpu max -smp 2 -m "$memory" \
	-kernel "$kernel" -initrd "$initramfs" -serial "file:$work/console" \
	-append "console=ttyS0 quiet panic=-1 mitigations=off nokaslr tsc=reliable camera_vm=$work" \
	"${shares[@]}" "${devices[@]}" "${ports[@]}" </dev/null >"$work/qemu" 2>&1 &
machine=$!
setpriv --pdeathsig TERM tail -q -n +1 -s 0.1 -f --pid="$machine" "$work/stdout" 2>/dev/null &
copiers+=($!)
setpriv --pdeathsig TERM tail -q -n +1 -s 0.1 -f --pid="$machine" "$work/stderr" >&2 2>/dev/null &
copiers+=($!)

ended=0
wait "$machine" || ended=$?
while kill -0 "$machine" 2>/dev/null; do # it was only the signal that ended the waiting
	ended=0
	wait "$machine" 2>/dev/null || ended=$?
done
machine=''
wait "${copiers[@]}" || true
copiers=()
[ "$cut" = no ] || exit 137
if [ "$ended" -eq 124 ] || [ "$ended" -eq 137 ]; then
	warn "not finished within $limit s"
	exit 124
fi
status=$(cat "$work/status")
[[ $status =~ ^[0-9]+$ ]] || {
	cat "$work/qemu" >&2
	tail -n 30 "$work/console" >&2 || true
	die "the machine ended before the command did; above are its last messages"
}
exit "$status"
