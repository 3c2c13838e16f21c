# shellcheck shell=bash disable=SC2154,SC2034  # what it uses and sets is camera-vm.sh's
# The kernel of camera-vm.sh, in .cache/camera-vm. Sourced by it, never run.
# Nothing is installed: the packages are unpacked, what is needed is kept.

vm_cache=$root/.cache/camera-vm
vm_modules=(virtio_pci virtio_console 9pnet_virtio 9p overlay virtio_blk ext4 vivid)

# fetch_package NAME...: download and unpack into ./tree.
fetch_package() {
	# apt's own user cannot write here.
	apt-get -qq -o APT::Sandbox::User=root download "$@" || return 1
	local deb
	for deb in ./*.deb; do
		dpkg-deb -x "$deb" tree || return 1
		rm "$deb"
	done
}

# kernel_release: the release that the distribution's kernel package is at.
kernel_release() {
	local meta release
	for meta in linux-image-amd64 linux-image-generic; do
		release=$(apt-cache depends "$meta" 2>/dev/null | sed -n 's/^ *|\{0,1\}Depends: linux-image-\([0-9].*\)$/\1/p' | head -n 1)
		if [ -n "$release" ]; then
			printf '%s\n' "$release"
			return
		fi
	done
	return 1
}

# available NAME...: those of these packages that there are.
available() {
	local name
	for name in "$@"; do
		[ -z "$(apt-cache --names-only search "^$name\$")" ] || printf '%s\n' "$name"
	done
}

# in_scratch DIR COMMAND...: run it in a new directory, which becomes DIR if
# it succeeds. Two runs do not do it at once.
in_scratch() (
	dir=$1
	shift
	mkdir -p "$vm_cache"
	exec 9>"$vm_cache/lock"
	flock 9
	[ ! -d "$dir" ] || exit 0
	scratch=$dir.new
	rm -rf "$scratch"
	mkdir -p "$scratch"
	cd "$scratch" || exit 1
	"$@" || exit 1
	mv "$scratch" "$dir"
)

# prepare_kernel: set kernel and initramfs, made anew when these scripts change.
prepare_kernel() {
	local sum dir
	[ "$(dpkg --print-architecture)" = amd64 ] || die "only for amd64, this machine is $(dpkg --print-architecture)"
	sum=$(cat "$scripts/camera-vm-init.sh" "$scripts/camera-vm-kernel.sh" | cksum | cut -d ' ' -f 1)
	dir=$vm_cache/kernel-$sum
	[ -d "$dir" ] || {
		need_packages xz-utils zstd
		say "unpacking a kernel into ${dir#"$root/"}"
		in_scratch "$dir" build_initramfs || die "cannot prepare a kernel, see above"
		find "$vm_cache" -maxdepth 1 -name 'kernel-*' ! -name "kernel-$sum*" -exec rm -rf {} + # of earlier scripts
	}
	kernel=$dir/vmlinuz initramfs=$dir/initramfs release=$(cat "$dir/release")
}

build_initramfs() {
	local release packages
	release=$(kernel_release) || {
		as_root apt-get -qq update
		release=$(kernel_release) || die "no linux-image-amd64 or linux-image-generic among the packages"
	}
	# Ubuntu has the modules in packages of their own.
	mapfile -t packages < <(available "linux-image-$release" "linux-modules-$release" "linux-modules-extra-$release")
	fetch_package "${packages[@]}" || return 1
	mkdir -p ram/bin ram/dev ram/proc ram/sys ram/lower ram/upper ram/root &&
		cp "$(command -v busybox)" ram/bin/busybox &&
		(cd ram/bin && ./busybox --list | grep -vx busybox | xargs -n 1 ln -s busybox) &&
		install -m 755 "$scripts/camera-vm-init.sh" ram/init &&
		copy_modules "$release" &&
		pack >initramfs &&
		cp "tree/boot/vmlinuz-$release" vmlinuz &&
		printf '%s\n' "$release" >release &&
		rm -rf tree ram needed
}

# copy_modules RELEASE: those that are needed, from tree to ram.
copy_modules() {
	local release=$1 name file to
	depmod -b tree "$release" || return 1
	for name in "${vm_modules[@]}"; do
		modprobe -d tree -S "$release" --show-depends "$name" || return 1
	done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' >needed || return 1
	while read -r file; do
		to=ram/lib/${file#*/lib/}
		mkdir -p "${to%/*}" || return 1
		case $file in
		*.xz) xz -dc "$file" >"${to%.xz}" ;;
		*.zst) zstd -qdc "$file" >"${to%.zst}" ;;
		*) cp "$file" "$to" ;;
		esac || return 1
	done <needed
	cp "tree/lib/modules/$release/"modules.{order,builtin,builtin.modinfo} "ram/lib/modules/$release/" &&
		depmod -b ram "$release"
}

# pack: ./ram as an initramfs.
pack() (cd ram && find . | cpio --quiet -o -H newc -R 0:0 | gzip -1)

# prepare_loopback: after prepare_kernel, an initramfs with v4l2loopback in it.
prepare_loopback() {
	local dir=${kernel%/*}/loopback
	[ -d "$dir" ] || {
		need_packages gcc make libelf-dev
		say "building v4l2loopback for $release"
		in_scratch "$dir" build_loopback || die "cannot build v4l2loopback, see above"
	}
	initramfs=$dir/initramfs
}

build_loopback() {
	local headers=tree/usr/src/linux-headers-$release source packages
	mapfile -t packages < <(apt-cache depends "linux-headers-$release" | sed -n 's/^ *Depends: \(linux-\(headers\|kbuild\).*\)$/\1/p')
	fetch_package v4l2loopback-dkms "linux-headers-$release" "${packages[@]}" || return 1
	# They expect to be installed.
	sed -i "s|^include /usr/src|include $PWD/tree/usr/src|" "$headers/Makefile" || return 1
	source=$(echo "$PWD"/tree/usr/src/v4l2loopback-*)
	make -s -C "$headers" M="$source" CC=gcc modules || return 1
	mkdir ram &&
		(cd ram && gzip -dc "$initramfs" | cpio --quiet -i -d) &&
		cp "$source/v4l2loopback.ko" "ram/lib/modules/$release/" &&
		depmod -b ram "$release" &&
		pack >initramfs &&
		rm -rf tree ram
}

# prepare_disk FILE: an image with an empty file system, unless there is one.
prepare_disk() {
	[ ! -e "$1" ] || return 0
	need_packages e2fsprogs
	if ! { truncate -s 256M "$1.new" && PATH=$PATH:/usr/sbin:/sbin mkfs.ext4 -q "$1.new" && mv "$1.new" "$1"; }; then
		die "cannot make the disk $1, see above"
	fi
}
