# SPDX-License-Identifier: GPL-2.0-or-later
#
# What the scripts that build initramfs images share; to be sourced by bash, not run.
#
# An initramfs is a concatenation of cpio archives, the later ones adding to the earlier: a part that is
# the same every time is made once and cached, and what a run adds is a small archive of its own. Trees are
# staged as symbolic links to the files of this machine and archived with the links followed, so that nothing
# is copied twice. All functions expect `set -e`; those that fail print one line and exit.

cache=${XDG_CACHE_HOME:-${HOME:-$(echo ~)}/.cache}/dvmm

die()
{
	echo "${0##*/}: $*" >&2
	exit "${DIE_STATUS:-1}"
}

# need COMMAND PACKAGE: complains unless COMMAND can be run.
need()
{
	command -v "$1" >/dev/null || die "$1 is missing: install the Debian package $2"
}

# Prints $1 as a path from the root, symbolic links and all, without a '.' or '..' in it.
absolute()
{
	realpath -s -m -- "$1"
}

# stage FILE PATH ROOT: FILE (or a directory with all in it) will be at PATH in the archive made of ROOT.
# Debian's /bin, /lib, ... are links into /usr, and the base archive has the same links: a directory of
# such a name in a later archive would replace the link, so PATH is spelt the long way.
stage()
{
	local file path=$2 root=$3

	file=$(readlink -f -- "$1") && [ -r "$file" ] || die "$1: no such file, or not readable"
	case $path in
	/bin/*|/sbin/*|/lib/*|/lib64/*) path=/usr$path ;;
	esac
	mkdir -p "$root${path%/*}"
	if [ -d "$file" ]; then
		cp -rsT "$file" "$root$path"
	else
		ln -sf "$file" "$root$path"
	fi
}

# stage_libraries FILE ROOT: the shared libraries, and the loader, that the program FILE names.
stage_libraries()
{
	local library

	# ldd fails for what is not a dynamic executable, which then needs nothing.
	for library in $(ldd "$1" 2>/dev/null | sed -n 's/^[^/]*\(\/[^ ]*\) (0x.*/\1/p'); do
		stage "$library" "$library" "$2"
	done
}

# stage_added SPEC ROOT: the FILE[:PATH] of an --add option; PATH is by default that of FILE.
stage_added()
{
	local file=$1 path

	[ -e "$file" ] || file=${1%:*}
	path=${1#"$file"}
	path=${path#:}
	stage "$file" "$(absolute "${path:-$file}")" "$2"
	[ -d "$file" ] || stage_libraries "$file" "$2"
}

# stage_modules KERNEL ROOT NAME...: modules of that kernel with what they depend on, in ROOT/modules, and
# their file names in the order in which they have to be loaded in ROOT/modules/order.
stage_modules()
{
	local kernel=$1 root=$2 version name action file
	shift 2

	need modprobe kmod
	version=$(ls "$kernel/lib/modules")
	mkdir -p "$root/modules"
	for name; do
		modprobe -C /dev/null -d "$kernel" -S "$version" --show-depends "$name" ||
			die "the kernel in $kernel has no module $name"
	done >"$root/modules/.depends"
	while read -r action file; do
		[ "$action" = insmod ] || continue	# the others are "builtin NAME"
		[ -e "$root/modules/${file##*/}" ] && continue
		ln -s "$file" "$root/modules/${file##*/}"
		echo "${file##*/}"
	done <"$root/modules/.depends" >"$root/modules/order"
	rm "$root/modules/.depends"
}

# stage_busybox ROOT: a root file system with busybox under all of its names, laid out as Debian's.
stage_busybox()
{
	local root=$1 dir applet

	need busybox busybox-static
	ldd "$(command -v busybox)" >/dev/null 2>&1 && die "busybox is not static: install the Debian package busybox-static"
	for dir in bin sbin lib lib64; do
		mkdir -p "$root/usr/$dir"
		ln -s "usr/$dir" "$root/$dir"
	done
	mkdir -p "$root"/{dev,etc,home,mnt,proc,root,run,sys,tmp,var}
	ln -s "$(readlink -f "$(command -v busybox)")" "$root/usr/bin/busybox"
	for applet in $(busybox --list); do
		[ "$applet" = busybox ] || ln -s busybox "$root/usr/bin/$applet"
	done
}

# archive ROOT OUT: makes a cpio archive of ROOT, all owned by root. Links that lead out of ROOT, which are
# absolute, are followed; relative ones are archived as links.
archive()
{
	local root=$1 out=$2

	need cpio cpio
	{
		(cd "$root" && find . ! -lname '/*' -print0 | cpio --null --quiet -o -H newc -R 0:0)
		(cd "$root" && find . -lname '/*' -print0 | cpio --null --quiet -o -H newc -R 0:0 -L)
	} >"$out.$$" && mv "$out.$$" "$out"
}
