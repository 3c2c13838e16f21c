#!/bin/sh
# The first process of camera-vm.sh's machine, in its initramfs; run by busybox.
# It makes /root of the outer machine's files, with RAM above them to write to,
# runs the command there and switches the machine off.
export PATH=/bin
off() {
	[ $# -eq 0 ] || echo "camera-vm: $*" >/dev/console
	poweroff -f
}
must() { "$@" || off "failed: $*"; }

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
modprobe crc32c 2>/dev/null # ext4's wish, which busybox does not see; built in, it is no module
for module in virtio_pci virtio_console 9pnet_virtio 9p overlay virtio_blk ext4; do
	must modprobe "$module"
done

# port NAME: the device of a virtio port, whatever its number.
port() {
	for dir in /sys/class/virtio-ports/*; do
		[ "$(cat "$dir/name")" != "$1" ] || echo "/dev/${dir##*/}"
	done
}
share=trans=virtio,version=9p2000.L,msize=512000

must mount -t 9p -o "$share,ro,cache=loose" root /lower
must mount -t tmpfs -o size=75% tmpfs /upper
mkdir /upper/files /upper/work
must mount -t overlay -o lowerdir=/lower,upperdir=/upper/files,workdir=/upper/work overlay /root
for dir in dev proc sys run lib/modules; do
	mkdir -p "/root/$dir"
done
mount --bind /dev /root/dev
mount --bind /proc /root/proc
mount --bind /sys /root/sys
mount -t tmpfs tmpfs /root/run
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
ln -s /proc/self/fd /dev/fd
for n in 0:stdin 1:stdout 2:stderr; do
	ln -s "/proc/self/fd/${n%:*}" "/dev/${n#*:}"
done
# The outer machine may lack the directory, or have modules of this version.
mount -t tmpfs tmpfs /root/lib/modules
cp -a /lib/modules/* /root/lib/modules/
ip link set lo up
hostname camera-vm

work=/root$(sed 's/.* camera_vm=\([^ ]*\).*/\1/' /proc/cmdline)
output=$(cat "$work/output")
[ -z "$output" ] || must mount -t 9p -o "$share,rw,cache=none" output "/root$output"
disk=$(cat "$work/disk")
[ -z "$disk" ] || {
	mkdir -p /root/disk
	must mount -t ext4 "$disk" /root/disk
}
while read -r module; do
	# shellcheck disable=SC2086  # its options are words
	[ -z "$module" ] || must modprobe $module
done <"$work/modules"

# A port can be opened once only, and some programs open /dev/stdout: give them
# pipes. When the first process of its namespace ends, all end that the command
# left behind, and with them the pipes.
mkfifo /stdout /stderr
cat /stdout >"$(port stdout)" &
cat /stderr >"$(port stderr)" &
unshare --pid --fork --mount-proc=/root/proc chroot /root \
	/usr/bin/env -i /bin/bash "${work#/root}/command" </dev/null >/stdout 2>/stderr
status=$?
wait
[ -z "$disk" ] || must umount /root/disk
echo "$status" >"$(port status)"
off
