#!/usr/bin/env bash
# The first process of a box: boot.sh LOWER SCRATCH COMMAND... is started by the
# test in new mount, PID, UTS, IPC and network namespaces and in a cgroup of its
# own. It puts a layer in memory over the system in LOWER, makes that the root,
# with SCRATCH/packages in /mnt, and becomes COMMAND. All of it vanishes with the
# process.
set -euo pipefail
lower=$1 scratch=$2
if [ "${IN_CGROUP_NAMESPACE:-}" != yes ]; then
	IN_CGROUP_NAMESPACE=yes exec unshare --cgroup "$0" "$@"
fi
shift 2

mount --make-rprivate /
layer=$scratch/layer root=$scratch/root
mkdir -p "$layer" "$root"
mount -t tmpfs -o mode=755 layer "$layer"
mkdir "$layer/upper" "$layer/work"
mount -t overlay -o "lowerdir=$lower,upperdir=$layer/upper,workdir=$layer/work" overlay "$root"

mount -t proc proc "$root/proc"
# What the kernel has only one of is not the box's to set.
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 run "$root/run"
mount -t tmpfs -o mode=1777 tmp "$root/tmp"
mount -t tmpfs -o mode=755 dev "$root/dev"
for name in null zero full random urandom tty; do
	touch "$root/dev/$name"
	mount --bind "/dev/$name" "$root/dev/$name"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
mount --bind "$scratch/packages" "$root/mnt"
ip link set lo up
mount -o remount,bind,ro "$root/proc/sys"

# Not chroot: the kernel allows no user namespaces below one (PrivateUsers=).
cd "$root"
pivot_root . run
exec chroot . /bin/sh -c 'umount -l /run && mount -t tmpfs -o mode=755 run /run && exec "$@"' sh \
	setpriv --bounding-set=-sys_module,-sys_time,-sys_rawio,-mac_admin,-mac_override,-syslog \
	env -i container=box PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"
