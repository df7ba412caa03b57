/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 * Each stage below takes away one kind of power, and its comment says what is still possible after it. They
 * overlap on purpose: if one has a hole, the next one is behind it. sandbox_spawn() has already made the
 * namespaces, the ids and the list of descriptors. The system call filters (seccomp/filters.c) come last.
 */
#include "config.h"

#include <cap-ng.h>
#include <errno.h>
#include <linux/landlock.h>
#include <linux/securebits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "seccomp/sandbox.h"

#ifndef PR_SET_MDWE /* Linux 6.3; the C library's headers may be older */
#define PR_SET_MDWE              65
#define PR_MDWE_REFUSE_EXEC_GAIN 1
#endif

static int fail(char error[SANDBOX_ERROR_BYTES], const char *what, const char *way_out)
{
	int err = errno;

	snprintf(error, SANDBOX_ERROR_BYTES, "sandbox: %s: %s; %s", what, strerrordesc_np(err), way_out);
	return -err;
}

/*
 * On an initial ramfs pivot_root() is refused (pivot_root(2), EINVAL). There the empty directory is moved on
 * top of the root, as switch_root does; getting back under it would take CAP_SYS_CHROOT or CAP_SYS_ADMIN,
 * which the next stage drops.
 */
static bool replace_root(void)
{
	if (!syscall(SYS_pivot_root, ".", "."))
		return !umount2(".", MNT_DETACH);
	return errno == EINVAL && !mount(".", "/", NULL, MS_MOVE, NULL) && !chroot(".");
}

/*
 * Stage 1: an empty read-only root. It is made on /dev, which is there because /dev/kvm is, in a mount
 * namespace that nobody shares.
 * Still possible: everything with the descriptors passed; mounting, since the capabilities are still there.
 * No longer: naming any file, device or socket of the host.
 */
static int enter_empty_root(char error[SANDBOX_ERROR_BYTES])
{
	if (mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) ||
	    mount("none", "/dev", "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
		  "size=4k,nr_inodes=1") ||
	    chdir("/dev") || !replace_root() || chdir("/"))
		return fail(error, "cannot make an empty root",
			    "allow mounting in user namespaces (AppArmor?), or run dvmm as root");
	return 0;
}

/* libcap-ng would look for it in /proc first, which is not there any more, and take four times as long. */
static bool drop_bounding_set(void)
{
	int cap = 0;

	while (!prctl(PR_CAPBSET_DROP, cap, 0, 0, 0))
		cap++;
	return cap && errno == EINVAL; /* the kernel knows no such capability */
}

/*
 * Stage 2: no capability in any set, and none to be had: securebits are locked so that neither ids nor exec
 * bring one back.
 * Still possible: what any process of user nobody can do without files: memory, threads, sockets, signals to
 * itself.
 * No longer: mounting, changing ids, joining or configuring namespaces.
 */
static int drop_capabilities(char error[SANDBOX_ERROR_BYTES])
{
	unsigned long locked = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP |
			       SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_KEEP_CAPS_LOCKED |
			       SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;

	if (prctl(PR_SET_SECUREBITS, locked, 0, 0, 0) ||
	    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))
		return fail(error, "cannot lock the securebits", "please report this as a bug");
	if (!drop_bounding_set())
		return fail(error, "cannot empty the bounding set", "please report this as a bug");
	capng_clear(CAPNG_SELECT_CAPS);
	if (capng_apply(CAPNG_SELECT_CAPS))
		return fail(error, "cannot drop the capabilities", "please report this as a bug");
	return 0;
}

/*
 * Stage 3: no privilege by exec, no look into this process, no code made at run time.
 * Still possible: threads, sockets (in an empty network namespace), memory, signals to itself.
 * No longer: set-uid programs; ptrace, /proc/PID/mem or a core file by another process of the same user;
 * memory that is executable and was ever writable.
 */
static int refuse_privileges(char error[SANDBOX_ERROR_BYTES])
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return fail(error, "cannot set no_new_privs", "dvmm needs Linux 3.5");
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
		return fail(error, "cannot make the emulator undumpable", "please report this as a bug");
	prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0); /* EINVAL before Linux 6.3 */
	return 0;
}

int sandbox_landlock_abi(void)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

	return abi < 0 ? 0 : (int)abi;
}

/*
 * Stage 4: Landlock, with everything handled and nothing allowed. The kernel may be newer than the headers
 * that we are built with, so the masks are made from how many rights each ABI has
 * (Documentation/userspace-api/landlock.rst).
 * Still possible: reading and writing what is already open.
 * No longer: opening, making, removing or renaming files even if a way to name them were found; binding and
 * connecting TCP ports (ABI 4); device ioctls (5); abstract sockets and signals to anyone outside (6).
 */
static int restrict_landlock(char error[SANDBOX_ERROR_BYTES])
{
	static const struct {
		unsigned fs, net, scoped;
	} bits[] = {
		/* by ABI, from 0 (no Landlock) to 6 */
		{0, 0, 0}, {13, 0, 0}, {14, 0, 0}, {15, 0, 0}, {15, 2, 0}, {16, 2, 0}, {16, 2, 2},
	};
	const int newest = sizeof(bits) / sizeof(bits[0]) - 1;
	int abi = sandbox_landlock_abi(), i = abi > newest ? newest : abi;
	/* struct landlock_ruleset_attr of ABI 6: handled_access_fs, handled_access_net, scoped. */
	uint64_t attr[3] = {(1ull << bits[i].fs) - 1, (1ull << bits[i].net) - 1,
			    (1ull << bits[i].scoped) - 1};
	int fd, err = 0;

	if (abi == 0)
		return 0;
	/* An older kernel accepts a longer struct whose end is zero. */
	fd = (int)syscall(SYS_landlock_create_ruleset, attr, sizeof(attr), 0);
	if (fd < 0)
		return fail(error, "cannot make a Landlock ruleset", "please report this as a bug");
	if (syscall(SYS_landlock_restrict_self, fd, 0))
		err = fail(error, "cannot enter the Landlock ruleset", "please report this as a bug");
	close(fd);
	return err;
}

int sandbox_enter(char error[SANDBOX_ERROR_BYTES])
{
	int err = enter_empty_root(error);

	if (!err)
		err = drop_capabilities(error);
	if (!err)
		err = refuse_privileges(error);
	if (!err)
		err = restrict_landlock(error);
	return err;
}

/*
 * Stage 5, once all threads exist: limits.
 * Still possible: computing, and I/O on what is open.
 * No longer: a new descriptor, a new mapping of private memory, locked memory, a core file, a disk image that
 * grows and fills the host's file system.
 *
 * Not RLIMIT_NPROC: io_uring counts the kernel threads that it starts for blocking I/O against it, and disks
 * would stop. Not RLIMIT_AS: the first thread's stack must be able to grow. The filter allows neither clone
 * nor mmap.
 */
int sandbox_seal(uint64_t largest_file_bytes, char error[SANDBOX_ERROR_BYTES])
{
	const struct {
		int resource;
		rlim_t limit;
	} limits[] = {
		/* clang-format off */
		{RLIMIT_FSIZE, largest_file_bytes},
		{RLIMIT_CORE, 0},
		{RLIMIT_MEMLOCK, 0},
		{RLIMIT_MSGQUEUE, 0},
#ifndef DVMM_ASAN /* the sanitizers map memory and open files for as long as the process lives */
		{RLIMIT_NOFILE, 0},
		{RLIMIT_DATA, 0},
#endif
		/* clang-format on */
	};

	for (unsigned i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		struct rlimit both = {limits[i].limit, limits[i].limit};

		if (setrlimit(limits[i].resource, &both))
			return fail(error, "cannot lower the limits", "please report this as a bug");
	}
	return 0;
}
