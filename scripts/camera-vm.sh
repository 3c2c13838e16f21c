#!/usr/bin/env bash
# Runs a command on this machine's own files, under a kernel that has a camera:
# Debian's kernel boots in QEMU, without KVM, and loads vivid as /dev/video0.
#
#   camera-vm.sh [--loopback] [--memory MB] [--modules 'NAME OPTIONS']
#                [--output DIR] [--timeout SECONDS] -- COMMAND...
#
#   --loopback   load v4l2loopback too, as /dev/video9 (the first time builds it)
#   --modules    load this in place of vivid; may be repeated; '' loads nothing.
#                modprobe and rmmod work inside, for vivid and v4l2loopback
#   --output     what the command writes below DIR stays; the rest is RAM and goes
#   --timeout    end it all after so many seconds (default 600)
#
# COMMAND is root there, in this working directory. It sees all files of this
# machine as they are, /tmp among them, with /dev, /proc and /sys of its own and
# no network but loopback. PATH, HOME, CI, LANG, TERM and all GO… and FRAMEKEEPER_…
# go with it; its standard input is empty. Its output and exit status come
# back; 124 means the timeout, 125 that the machine itself failed.
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

usage="usage: camera-vm.sh [--loopback] [--memory MB] [--modules 'NAME OPTIONS'] [--output DIR] [--timeout SECONDS] -- COMMAND..."
loopback=no memory=2048 output='' limit=600
modules=('vivid n_devs=1 node_types=0x1 num_inputs=1 input_types=0') chosen=no
while [ $# -gt 0 ]; do
	case $1 in
	--loopback) loopback=yes ;;
	--memory | --modules | --output | --timeout)
		[ $# -ge 2 ] || die "$1 needs a value; $usage"
		case $1 in
		--memory) memory=$2 ;;
		--output) output=$(realpath -e -- "$2") || die "no directory $2" ;;
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

# What the command prints must be its own, so all of ours goes to stderr.
need_packages qemu-system-x86 busybox-static kmod cpio v4l-utils util-linux >&2
prepare_kernel >&2 # sets kernel and initramfs
if [ "$loopback" = yes ]; then
	prepare_loopback >&2 # sets another initramfs
	modules+=('v4l2loopback video_nr=9 card_label=loopback exclusive_caps=0')
fi

# A name without spaces: the kernel's command line carries it.
work=$(mktemp -d /tmp/camera-vm.XXXXXX)
machine='' copiers=()
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

# The first lines of the guest's life, read by camera-vm-init.sh.
printf '%s\n' "${modules[@]}" >"$work/modules"
printf '%s\n' "$output" >"$work/output"
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
	-nodefaults -no-user-config -no-reboot -display none -monitor none -machine pc,usb=off,vmport=off \
	-accel tcg,thread=multi -cpu max -smp 2 -m "$memory" \
	-kernel "$kernel" -initrd "$initramfs" -serial "file:$work/console" \
	-append "console=ttyS0 quiet panic=-1 mitigations=off nokaslr tsc=reliable camera_vm=$work" \
	"${shares[@]}" "${ports[@]}" </dev/null >"$work/qemu" 2>&1 &
machine=$!
setpriv --pdeathsig TERM tail -q -n +1 -s 0.1 -f --pid="$machine" "$work/stdout" 2>/dev/null &
copiers+=($!)
setpriv --pdeathsig TERM tail -q -n +1 -s 0.1 -f --pid="$machine" "$work/stderr" >&2 2>/dev/null &
copiers+=($!)

ended=0
wait "$machine" || ended=$?
machine=''
wait "${copiers[@]}" || true
copiers=()
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
